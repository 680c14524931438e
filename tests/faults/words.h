/* SPDX-License-Identifier: MIT */
/* A call is passed on as eight words, whatever it takes: numbers, pointers and
 * variable arguments, and what lies behind them. That holds for x86-64 and
 * AArch64, where each argument has a register or a word of the stack; and for
 * i386 and 32-bit Arm, where one of 64 bits is two words, as in pread64() and
 * fallocate64(), and clone() takes seven. A result has one word: so nothing
 * that returns an offset, as lseek64() does, may be passed on; and nothing
 * that takes or returns a floating-point number.
 *
 * No header that declares one of the calls may be included beside this. */
#ifndef WORDS_H
#define WORDS_H

#if !defined(__x86_64__) && !defined(__aarch64__) && !defined(__i386__) &&    \
    !defined(__arm__)
#error "how this architecture passes arguments has not been looked at"
#endif

#include <dlfcn.h> /* dlsym, RTLD_NEXT */

#define WORDS long a, long b, long c, long d, long e, long f, long g, long h
#define PASSED a, b, c, d, e, f, g, h

typedef long words(WORDS);

/* The one that would have been called, into a static variable. */
#define FIND(real, name)                                                      \
    if ((real) == NULL) {                                                     \
        (real) = (words *)dlsym(RTLD_NEXT, name);                             \
    }

#endif
