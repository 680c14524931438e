/* SPDX-License-Identifier: MIT */
#include "core/name.h"

#include <errno.h>
#include <string.h> /* strlen, strchr, strncmp */

#include "core/os/os.h"

shx_err
shx_name_bare(const char *name, const char **bare)
{
    while (*name == '/') {
        name++;
    }
    size_t length = strlen(name);
    if (length == 0 || strchr(name, '/') != NULL) {
        return EINVAL;
    }
    if (length > shx_os_name_max) {
        return shx_os_refuse_long(name);
    }
    if (strncmp(name, SHX_NAME_OWN, sizeof SHX_NAME_OWN - 1) == 0) {
        return SHX_RESERVED;
    }
    *bare = name;
    return 0;
}
