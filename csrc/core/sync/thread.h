/* SPDX-License-Identifier: MIT */
#ifndef SHX_THREAD_H
#define SHX_THREAD_H

#include <stdint.h>

/* The number of this thread in this process, not 0. It is never another's: the
 * system gives the number of a thread that is gone to another. */
uint32_t shx_this_thread(void);

#endif
