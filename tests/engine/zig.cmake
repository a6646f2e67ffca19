# Toolchain of a target that ZIG_TARGET names: cmake -DCMAKE_TOOLCHAIN_FILE=zig.cmake, with ZIG_PYTHON in the environment.
set(CMAKE_SYSTEM_NAME Linux)
string(REGEX MATCH "^[^-]+" CMAKE_SYSTEM_PROCESSOR "$ENV{ZIG_TARGET}")
set(CMAKE_C_COMPILER ${CMAKE_CURRENT_LIST_DIR}/zig-cc)
set(CMAKE_AR ${CMAKE_CURRENT_LIST_DIR}/zig-ar)
set(CMAKE_RANLIB ${CMAKE_CURRENT_LIST_DIR}/zig-ar)
set(CMAKE_C_ARCHIVE_FINISH "")
set(CMAKE_C_COMPILER_WORKS 1) # its trial would build a C library for every folder
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)
set(CMAKE_EXE_LINKER_FLAGS -static)
