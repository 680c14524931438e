/* SPDX-License-Identifier: MIT */
/* What a party is by: the file, looked at by descriptors that may come to mean
 * another file at any moment. All of it with the mutex of party.c. */
#ifndef SHX_PARTY_ANCHOR_H
#define SHX_PARTY_ANCHOR_H

#include "core/life/party.h"

/* Is it a descriptor of the party's file? */
bool shx_party_owns(const shx_party *party, int fd);

/* Opens the one that is kept anew, where a program has closed it. */
void shx_party_mend_fd(shx_party *party);

/* A token that nobody living has, and what keeps it. */
shx_err shx_party_cast(shx_party *party, shx_anchor *out);

/* See shx_party_is_dead(). */
bool shx_party_prove_death(shx_party *party, uint32_t token);

#endif
