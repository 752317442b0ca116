# What is installed, and the Debian package of it:
#
#   ninja deb        makes upkeep_VERSION_ARCHITECTURE.deb in the build folder, where something in it has changed
#
# Built on Debian 12 it installs on 13 too: of every library that it needs the newer release has the same major
# version. upkeep-init is static and needs none.

include(GNUInstallDirs)

install(TARGETS upkeep RUNTIME DESTINATION sbin)
if(TARGET upkeep-init)
  install(TARGETS upkeep-init RUNTIME DESTINATION lib/upkeep)
endif()

# Debian wants manual pages compressed, and without a time stamp the same pages give the same package.
find_program(GZIP gzip REQUIRED)
file(GLOB manual_pages CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/docs/man/*.8)
set(compressed_pages)
foreach(page ${manual_pages})
  get_filename_component(name ${page} NAME)
  set(compressed ${PROJECT_BINARY_DIR}/man/${name}.gz)
  add_custom_command(OUTPUT ${compressed}
    COMMAND ${CMAKE_COMMAND} -E make_directory ${PROJECT_BINARY_DIR}/man
    COMMAND ${GZIP} -9nc ${page} > ${compressed}
    DEPENDS ${page} VERBATIM)
  list(APPEND compressed_pages ${compressed})
endforeach()
add_custom_target(manual_pages ALL DEPENDS ${compressed_pages})

install(FILES ${compressed_pages} DESTINATION share/man/man8)
install(FILES completion/upkeep DESTINATION share/bash-completion/completions)
install(FILES cmake/copyright DESTINATION share/doc/upkeep)
# Units are picked up from here as soon as there are any.
file(GLOB units CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/systemd/*.service)
if(units)
  install(FILES ${units} DESTINATION lib/systemd/system)
endif()

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME upkeep)
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGE_CONTACT "upkeep developers <upkeep@localhost>")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION admin)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
# Libraries are found out by dpkg-shlibdeps; these are programs that are called.
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_DEPENDS "kexec-tools, kmod")
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS nftables)
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY ${PROJECT_DESCRIPTION})
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION
"upkeep replaces the running Linux kernel by another one without restarting
what the machine is there for. The services that are carried keep their
memory, process IDs, open files and TCP connections; to those who use them
nothing happened but a pause of some seconds.")
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
include(CPack)

# CMake's own target "package" has no inputs: it packs anew each time. Of the same programs the same package, byte by byte:
# virtual machines are kept by what is installed in them.
execute_process(COMMAND dpkg --print-architecture OUTPUT_VARIABLE architecture OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
set(deb ${PROJECT_BINARY_DIR}/upkeep_${PROJECT_VERSION}_${architecture}.deb)
add_custom_command(OUTPUT ${deb}
  COMMAND ${CMAKE_COMMAND} -E env SOURCE_DATE_EPOCH=1795392000 ${CMAKE_CPACK_COMMAND} --config ${PROJECT_BINARY_DIR}/CPackConfig.cmake
  DEPENDS upkeep $<TARGET_NAME_IF_EXISTS:upkeep-init> ${compressed_pages} ${units} completion/upkeep cmake/copyright cmake/Package.cmake
  WORKING_DIRECTORY ${PROJECT_BINARY_DIR} VERBATIM)
add_custom_target(deb DEPENDS ${deb})
