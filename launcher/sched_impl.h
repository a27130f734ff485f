/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The readers behind sched.h. Each returns 1 if its launcher started this process and *s is filled,
 * 0 if it did not, -1 with MU_E_USAGE. `s` comes zeroed, but for node_index -1. That of host files
 * looks up the names in the file, unless `is_outside` (sched.h).
 */
#pragma once

#include "launcher/sched.h"
#include "muster/buf.h"

int sched_slurm_read(const struct host_view *host, struct sched *s, struct mu_err *err);
int sched_openmpi_read(const struct host_view *host, struct sched *s, struct mu_err *err);
int sched_kubernetes_read(const struct host_view *host, struct sched *s, struct mu_err *err);
int sched_flux_read(const struct host_view *host, struct sched *s, struct mu_err *err);
int sched_pbs_read(const struct host_view *host, struct sched *s, struct mu_err *err);
int sched_lsf_read(const struct host_view *host, struct sched *s, struct mu_err *err);
int sched_hostfile_read(const char *path, bool is_outside, struct sched *s, struct mu_err *err);

/* A variable that holds a number from 0 to INT32_MAX; `fallback` if it is not set or holds none. */
int64_t sched_number(const struct host_view *host, const char *name, int64_t fallback);

/* A variable as a text that is not empty; NULL if there is none. */
const char *sched_text(const struct host_view *host, const char *name);

/* ---- sched_names.c ---- */

/* This machine's (a pod's) host name; -1 if it cannot be read. */
int sched_own_hostname(const struct host_view *host, char name[MU_MAX_NAME + 1]);

/*
 * The place of a host in the list, or -1. For the order of nodes only: `node1` and `node1.cluster`
 * are taken for the same, `node1.a` and `node1.b` are not.
 */
int32_t sched_find_host(const struct hostlist *hosts, const char *name);

/* Add a host unless the list has it: schedulers write one once for each of its slots. */
void sched_add_host(struct hostlist *hosts, struct mu_slice name);

/*
 * The coordinator is on the first of s->hosts, on a port that follows from s->run_id; and this
 * node's place among them, by its name. Nothing if there are none.
 */
void sched_place_first(const struct host_view *host, struct sched *s);
