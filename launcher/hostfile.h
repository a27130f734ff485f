/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files of host names, as Open MPI, MPICH and DeepSpeed write them:
 *
 *     # comments and empty lines mean nothing
 *     node1
 *     node2 slots=8 max_slots=8
 *     ada@node3:8
 *     [fd00::4] slots=8
 *
 * A host that is named again is the same node: its slots add up, as for mpirun (for DeepSpeed that
 * is a mistake), and where none are given each line counts one.
 *
 * Threading: any.
 */
#pragma once

#include "muster/err.h"
#include "muster/limits.h"

#include <stddef.h>
#include <stdint.h>

enum { HOSTFILE_MAX_BYTES = 16 * 1024 * 1024, HOSTFILE_MAX_NAME = 64 };

struct hostfile_host {
    char name[MU_MAX_NAME + 1];       /* without a user; a v6 address without brackets */
    char user[HOSTFILE_MAX_NAME + 1]; /* "": none given */
    uint32_t slots; /* 0: the file names no number and the host once; at most MU_MAX_LOCAL_WORLD */
    size_t line;    /* where it is named first, from 1 */
};

struct hostfile {
    struct hostfile_host *hosts; /* owned; in the order of the file, every name once */
    size_t count;
};

/*
 * Read the text of a file that is called `path` in messages. MU_E_USAGE for what is no host, an
 * unknown word, a number out of range, more than MU_MAX_NODES hosts, and no host at all: the error
 * says the line, what stands there and what was expected.
 */
int hostfile_parse(const char *path, const char *text, size_t len, struct hostfile *ret_file,
                   struct mu_err *err);

/* The same with the file read; MU_E_USAGE if it cannot be, or is larger than HOSTFILE_MAX_BYTES. */
int hostfile_read(const char *path, struct hostfile *ret_file, struct mu_err *err);

void hostfile_fini(struct hostfile *file);
