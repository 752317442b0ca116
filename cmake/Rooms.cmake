# Rooms and the arrows between them.
#
# upkeep_room(NAME CALLS room... [LIBRARIES target...])
#
# makes one static library of every source in src/NAME/ and below, but for what lies in rooms of their own there. The
# table below says which rooms a room may call; an arrow that it does not list fails at configure time, and an #include
# that follows no arrow fails at compile time: a room is compiled against a directory that holds links to the rooms it
# calls, and to nothing else. Inside a room with wings scripts/check-arrows looks after the same.

set(UPKEEP_MAY_CALL_common "")
set(UPKEEP_MAY_CALL_os common)
set(UPKEEP_MAY_CALL_net os common)
set(UPKEEP_MAY_CALL_memory os common)
set(UPKEEP_MAY_CALL_kexec os common)
set(UPKEEP_MAY_CALL_initramfs os common)
set(UPKEEP_MAY_CALL_engine_model common)
set(UPKEEP_MAY_CALL_engine_tree engine_model common)
set(UPKEEP_MAY_CALL_engine_inspect engine_tree engine_model net os common)
set(UPKEEP_MAY_CALL_engine_rebuild engine_tree engine_model net os common)
set(UPKEEP_MAY_CALL_engine_verify engine_inspect engine_rebuild engine_tree engine_model net os common)
set(UPKEEP_MAY_CALL_engine engine_verify engine_inspect engine_rebuild engine_tree engine_model net os common)
set(UPKEEP_MAY_CALL_report common)
set(UPKEEP_MAY_CALL_operation os common)
set(UPKEEP_MAY_CALL_systemd os common)
set(UPKEEP_MAY_CALL_machine engine memory os common)
set(UPKEEP_MAY_CALL_jump operation systemd machine engine memory kexec net os common)
set(UPKEEP_MAY_CALL_jump_new jump operation systemd machine engine memory net os common)
set(UPKEEP_MAY_CALL_jump_old jump_new jump operation systemd machine engine memory kexec initramfs net os common)
set(UPKEEP_MAY_CALL_cli jump_old jump_new jump operation systemd machine report engine engine_model memory kexec net os common)
set(UPKEEP_MAY_CALL_init jump_new jump operation systemd machine memory os common)

# operation knows no systemd: whoever starts a worker hands it the function that starts a service (cli does). jump_old
# calls jump_new for one thing: undo from the journal has to know the stages of both kernels. The other way there is no
# arrow, so upkeep-init is linked against neither kexec nor initramfs, nor the libraries that these need.

# Rooms that do not lie right below src/.
set(UPKEEP_DIRECTORY_engine_model engine/model)
set(UPKEEP_DIRECTORY_engine_tree engine/tree)
set(UPKEEP_DIRECTORY_engine_inspect engine/inspect)
set(UPKEEP_DIRECTORY_engine_rebuild engine/rebuild)
set(UPKEEP_DIRECTORY_engine_verify engine/verify)
set(UPKEEP_DIRECTORY_jump_old jump/old)
set(UPKEEP_DIRECTORY_jump_new jump/new)

# Wings of a room, from top to bottom: a file may include from its own wing and from those below it, which
# scripts/check-arrows looks after. '.' is the room's own directory.
set(UPKEEP_WINGS_engine_model . task files sockets namespaces memory document)
set(UPKEEP_WINGS_engine_inspect . task files sockets namespaces memory calls)
set(UPKEEP_WINGS_engine_rebuild . task files sockets namespaces memory calls)

add_library(upkeep_flags INTERFACE)
target_compile_definitions(upkeep_flags INTERFACE _FILE_OFFSET_BITS=64
                           UPKEEP_VERSION="${PROJECT_VERSION}")
target_compile_options(upkeep_flags INTERFACE
  -Wall -Wextra -Wshadow -Wconversion -Wsign-conversion -Wnon-virtual-dtor -Wold-style-cast -Woverloaded-virtual
  -Wnull-dereference -Wformat=2 -Werror -fno-omit-frame-pointer)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # With a precompiled header g++ 12 forgets which headers are the system's, and what its optimiser suspects in
  # std::string after inlining is reported again. clang-tidy and the sanitizers look for the same.
  target_compile_options(upkeep_flags INTERFACE
    -Wno-array-bounds -Wno-maybe-uninitialized -Wno-restrict -Wno-stringop-overflow -Wno-stringop-overread)
else()
  target_compile_options(upkeep_flags INTERFACE "SHELL:-Xclang -fno-pch-timestamp")  # as ccache(1) asks
endif()
target_link_libraries(upkeep_flags INTERFACE nlohmann_json::nlohmann_json tl::expected Threads::Threads)
if(UPKEEP_SANITIZE)
  set(CMAKE_PCH_INSTANTIATE_TEMPLATES ON)
  target_compile_options(upkeep_flags INTERFACE -fsanitize=address,undefined -fno-sanitize-recover=all -Wno-null-dereference)
  target_link_options(upkeep_flags INTERFACE -fsanitize=address,undefined)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
    target_compile_options(upkeep_flags INTERFACE -fsanitize-ignorelist=${PROJECT_SOURCE_DIR}/cmake/sanitizers-ignore)
  endif()
endif()

# What nearly every source file reads, read once: fmt and json alone are some seconds of each. Having json costs each
# of them more than a second all the same, for its literals instantiate its parser: rooms that hardly use it go without.
set(UPKEEP_PRECOMPILED <fmt/format.h> <tl/expected.hpp> <algorithm> <chrono> <filesystem> <functional> <map> <memory>
                       <optional> <string> <vector>)
set(UPKEEP_WITHOUT_JSON os net engine_model engine_tree engine_inspect engine_rebuild engine_verify kexec initramfs)
function(upkeep_precompiled target room)
  if(room STREQUAL "common")
    target_precompile_headers(${target} PRIVATE ${UPKEEP_PRECOMPILED} <nlohmann/json.hpp>)
  elseif(room STREQUAL "os")
    target_precompile_headers(${target} PRIVATE ${UPKEEP_PRECOMPILED})
  elseif(room IN_LIST UPKEEP_WITHOUT_JSON AND TARGET upkeep_os)
    target_precompile_headers(${target} REUSE_FROM upkeep_os)
  else()
    target_precompile_headers(${target} REUSE_FROM upkeep_common)
  endif()
endfunction()

# The directory of a room below src/.
function(upkeep_directory_of room result)
  set(${result} ${room} PARENT_SCOPE)
  if(DEFINED UPKEEP_DIRECTORY_${room})
    set(${result} ${UPKEEP_DIRECTORY_${room}} PARENT_SCOPE)
  endif()
endfunction()

# Rooms that lie inside ROOM, as names of its own entries.
function(upkeep_rooms_inside room result)
  upkeep_directory_of(${room} directory)
  set(inside)
  get_cmake_property(variables VARIABLES)
  foreach(variable ${variables})
    if(variable MATCHES "^UPKEEP_DIRECTORY_" AND "${${variable}}" MATCHES "^${directory}/([^/]+)$")
      list(APPEND inside ${CMAKE_MATCH_1})
    endif()
  endforeach()
  set(${result} ${inside} PARENT_SCOPE)
endfunction()

# A directory with links to the rooms that TARGET may include from: each entry of such a room, but for rooms inside it.
function(upkeep_include_view target)
  set(view ${CMAKE_BINARY_DIR}/views/${target})
  file(REMOVE_RECURSE ${view})
  foreach(room ${ARGN})
    upkeep_directory_of(${room} directory)
    upkeep_rooms_inside(${room} inside)
    file(MAKE_DIRECTORY ${view}/${directory})
    file(GLOB entries CONFIGURE_DEPENDS RELATIVE ${PROJECT_SOURCE_DIR}/src/${directory} ${PROJECT_SOURCE_DIR}/src/${directory}/*)
    foreach(entry ${entries})
      if(NOT entry IN_LIST inside)
        file(CREATE_LINK ${PROJECT_SOURCE_DIR}/src/${directory}/${entry} ${view}/${directory}/${entry} SYMBOLIC)
      endif()
    endforeach()
  endforeach()
  target_include_directories(${target} PRIVATE ${view})
endfunction()

function(upkeep_room name)
  cmake_parse_arguments(ROOM "" "" "CALLS;LIBRARIES" ${ARGN})
  if(NOT DEFINED UPKEEP_MAY_CALL_${name})
    message(FATAL_ERROR "room '${name}' is not in the table of cmake/Rooms.cmake")
  endif()
  foreach(callee ${ROOM_CALLS})
    if(NOT callee IN_LIST UPKEEP_MAY_CALL_${name})
      message(FATAL_ERROR "forbidden arrow: room '${name}' may not call '${callee}' (cmake/Rooms.cmake)")
    endif()
  endforeach()
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS RELATIVE ${CMAKE_CURRENT_SOURCE_DIR} ${CMAKE_CURRENT_SOURCE_DIR}/*.cc)
  upkeep_rooms_inside(${name} inside)
  foreach(room ${inside})
    list(FILTER sources EXCLUDE REGEX "^${room}/")
  endforeach()
  add_library(upkeep_${name} STATIC ${sources})
  upkeep_include_view(upkeep_${name} ${name} ${ROOM_CALLS})
  target_link_libraries(upkeep_${name} PUBLIC upkeep_flags ${ROOM_LIBRARIES})
  upkeep_precompiled(upkeep_${name} ${name})
  foreach(callee ${ROOM_CALLS})
    target_link_libraries(upkeep_${name} PUBLIC upkeep_${callee})
  endforeach()
endfunction()
