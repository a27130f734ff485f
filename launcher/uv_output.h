/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The output of the workers of one round: the pipes and files that the workers get, the captures
 * that read the pipes, the log files. Carries out an output_plan.
 *
 * Threading: the loop thread only.
 */
#pragma once

#include "launcher/output_plan.h"
#include "launcher/uv_out.h"
#include "muster/err.h"

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct uv_output;

/*
 * Open what `plan` needs; `plan` is taken, on failure too. consoles[0] (standard output; may be
 * NULL if no stream of the plan is captured for it) and consoles[1] are borrowed until
 * uv_output_close(). NULL on failure. Owned by the caller until uv_output_close().
 */
struct uv_output *uv_output_open(uv_loop_t *loop, struct output_plan *plan,
                                 struct uv_out *const consoles[OUTPUT_STREAMS], struct mu_err *err);

/*
 * What becomes descriptor 1 (stream 0) or 2 (stream 1) of each worker; -1: inherited. Close-on-exec
 * and above 2. Valid until uv_output_begin().
 */
const int *uv_output_worker_fds(const struct uv_output *o, int stream);

/* The workers have their descriptors: close ours, and read. */
int uv_output_begin(struct uv_output *o, struct mu_err *err);

/* A worker has ended: read what it wrote, see uv_capture_drain(). */
void uv_output_drain(struct uv_output *o, uint32_t local_rank);

/* Copy the last bytes of a worker's standard error, without a NUL. Returns how many. */
size_t uv_output_stderr_tail(const struct uv_output *o, uint32_t local_rank, char *buf,
                             size_t size);

/*
 * Copy the beginning of the last traceback in there, if it is further up than the tail reaches, see
 * trace_keep_copy(). *ret_start is its place in the stream.
 */
size_t uv_output_stderr_trace(const struct uv_output *o, uint32_t local_rank, char *buf,
                              uint64_t *ret_start);

/* Bytes a worker has written to its standard error so far, what is still in the pipe included. */
uint64_t uv_output_stderr_total(const struct uv_output *o, uint32_t local_rank);

/*
 * The file that a worker's standard error is in, or will be soon; borrowed until uv_output_close().
 * NULL: there is none.
 */
const char *uv_output_stderr_file(const struct uv_output *o, uint32_t local_rank);

/* Log files are written to their end. Frees itself after its last close callback. NULL-safe. */
void uv_output_close(struct uv_output *o);
