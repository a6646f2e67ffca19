/* Before Python's headers, which are a 64-bit Linux's: what is otherwise on the platform that is compiled for. */
#include <pyconfig.h>
#if defined(__APPLE__) || defined(_WIN32)
#undef HAVE_CRYPT_H
#endif
#if defined(_WIN32)
#undef HAVE_SYS_SELECT_H
#define MS_WINDOWS
#undef Py_ENABLE_SHARED
#define Py_ENABLE_SHARED 1
#undef SIZEOF_WCHAR_T
#define SIZEOF_WCHAR_T 2
#endif
#undef SIZEOF_LONG
#define SIZEOF_LONG __SIZEOF_LONG__
#undef ALIGNOF_LONG
#define ALIGNOF_LONG __SIZEOF_LONG__
#if __SIZEOF_POINTER__ == 4
#undef SIZEOF_SIZE_T
#define SIZEOF_SIZE_T 4
#undef ALIGNOF_SIZE_T
#define ALIGNOF_SIZE_T 4
#undef SIZEOF_VOID_P
#define SIZEOF_VOID_P 4
#undef SIZEOF_UINTPTR_T
#define SIZEOF_UINTPTR_T 4
#undef SIZEOF_PTHREAD_T
#define SIZEOF_PTHREAD_T 4
#undef HAVE_GCC_UINT128_T
#endif
