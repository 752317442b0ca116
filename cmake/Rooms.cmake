# Rooms and the arrows between them.
#
# upkeep_room(NAME [SOURCES file...] [CALLS room...] [LIBRARIES target...])
#
# makes one static library of src/NAME/. The table below says which rooms a room may call; an arrow that it does
# not list fails at configure time, and an #include that follows no arrow fails at compile time: a room is
# compiled against a folder that holds links to the rooms it calls, and to nothing else.

set(UPKEEP_MAY_CALL_common "")
set(UPKEEP_MAY_CALL_os common)
set(UPKEEP_MAY_CALL_net os common)
set(UPKEEP_MAY_CALL_memory os common)
set(UPKEEP_MAY_CALL_kexec os common)
set(UPKEEP_MAY_CALL_initramfs os common)
set(UPKEEP_MAY_CALL_native_model common)
set(UPKEEP_MAY_CALL_native_inspect native_model net os common)
set(UPKEEP_MAY_CALL_native_rebuild native_model net os common)
set(UPKEEP_MAY_CALL_engine native_inspect native_rebuild native_model net os common)
set(UPKEEP_MAY_CALL_report common)
set(UPKEEP_MAY_CALL_landing engine memory net os common)
set(UPKEEP_MAY_CALL_upgrade landing engine memory kexec initramfs net os common)
set(UPKEEP_MAY_CALL_recovery upgrade landing memory os common)
set(UPKEEP_MAY_CALL_cli upgrade recovery report landing engine native_model memory kexec net os common)
set(UPKEEP_MAY_CALL_init landing memory os common)

# Rooms that do not lie right below src/.
set(UPKEEP_FOLDER_native_model engine/native/model)
set(UPKEEP_FOLDER_native_inspect engine/native/inspect)
set(UPKEEP_FOLDER_native_rebuild engine/native/rebuild)

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
set(UPKEEP_WITHOUT_JSON os net native_model native_inspect native_rebuild kexec initramfs)
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

# A folder with links to the rooms that TARGET may include from.
function(upkeep_include_view target)
  set(view ${CMAKE_BINARY_DIR}/views/${target})
  file(REMOVE_RECURSE ${view})
  file(MAKE_DIRECTORY ${view})
  foreach(room ${ARGN})
    set(folder ${room})
    if(DEFINED UPKEEP_FOLDER_${room})
      set(folder ${UPKEEP_FOLDER_${room}})
      if("engine" IN_LIST ARGN)  # which is seen whole
        continue()
      endif()
      get_filename_component(above ${folder} DIRECTORY)
      file(MAKE_DIRECTORY ${view}/${above})
    endif()
    file(CREATE_LINK ${PROJECT_SOURCE_DIR}/src/${folder} ${view}/${folder} SYMBOLIC)
  endforeach()
  target_include_directories(${target} PRIVATE ${view})
endfunction()

function(upkeep_room name)
  cmake_parse_arguments(ROOM "" "" "SOURCES;CALLS;LIBRARIES" ${ARGN})
  if(NOT DEFINED UPKEEP_MAY_CALL_${name})
    message(FATAL_ERROR "room '${name}' is not in the table of cmake/Rooms.cmake")
  endif()
  foreach(callee ${ROOM_CALLS})
    if(NOT callee IN_LIST UPKEEP_MAY_CALL_${name})
      message(FATAL_ERROR "forbidden arrow: room '${name}' may not call '${callee}' (cmake/Rooms.cmake)")
    endif()
  endforeach()
  add_library(upkeep_${name} STATIC ${ROOM_SOURCES})
  upkeep_include_view(upkeep_${name} ${name} ${ROOM_CALLS})
  target_link_libraries(upkeep_${name} PUBLIC upkeep_flags ${ROOM_LIBRARIES})
  upkeep_precompiled(upkeep_${name} ${name})
  foreach(callee ${ROOM_CALLS})
    target_link_libraries(upkeep_${name} PUBLIC upkeep_${callee})
  endforeach()
endfunction()
