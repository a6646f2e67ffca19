# zig's clang for any target, offline: ERNN_ZIG is its program, ERNN_ZIG_TARGET the triple, ERNN_ZIG_CPU the CPU or "".
set(CMAKE_SYSTEM_PROCESSOR ${ERNN_PROCESSOR})
set(CMAKE_SYSTEM_NAME Generic) # neither zig nor a static program needs what CMake knows of systems
if(ERNN_ZIG_TARGET MATCHES "linux")
  set(CMAKE_SYSTEM_NAME Linux)
endif()
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES ERNN_ZIG ERNN_ZIG_TARGET ERNN_ZIG_CPU ERNN_PROCESSOR)
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)
set(CMAKE_C_COMPILER ${ERNN_ZIG} cc --target=${ERNN_ZIG_TARGET} -fno-sanitize=all)
if(ERNN_ZIG_CPU)
  list(APPEND CMAKE_C_COMPILER -mcpu=${ERNN_ZIG_CPU})
endif()
set(CMAKE_C_COMPILER_WORKS 1) # its trial would build a C library for every folder
set(CMAKE_AR ${ERNN_ZIG})
set(CMAKE_RANLIB ${ERNN_ZIG})
set(CMAKE_C_ARCHIVE_CREATE "<CMAKE_AR> ar qcs <TARGET> <OBJECTS>")
set(CMAKE_C_ARCHIVE_FINISH "")
set(CMAKE_EXE_LINKER_FLAGS "-static -s")
