/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The readers behind sched.h. Each returns 1 if its launcher started this process and *s is filled,
 * 0 if it did not, -1 with MU_E_USAGE. `s` comes zeroed, but for node_index -1.
 */
#pragma once

#include "launcher/sched.h"

int sched_slurm_read(const struct host_view *host, struct sched *s, struct mu_err *err);
int sched_openmpi_read(const struct host_view *host, struct sched *s, struct mu_err *err);
int sched_kubernetes_read(const struct host_view *host, struct sched *s, struct mu_err *err);
int sched_flux_read(const struct host_view *host, struct sched *s, struct mu_err *err);
int sched_pbs_read(const struct host_view *host, struct sched *s, struct mu_err *err);
int sched_lsf_read(const struct host_view *host, struct sched *s, struct mu_err *err);
int sched_hostfile_read(const struct host_view *host, const char *path, struct sched *s,
                        struct mu_err *err);

/* A variable that holds a number from 0 to INT32_MAX; `fallback` if it is not set or holds none. */
int64_t sched_number(const struct host_view *host, const char *name, int64_t fallback);

/* A variable as a text that is not empty; NULL if there is none. */
const char *sched_text(const struct host_view *host, const char *name);
