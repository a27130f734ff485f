/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The few things of slurm.conf(5) that no variable of a task tells: how long Slurm waits between
 * SIGTERM and SIGKILL, and by which address it reaches a node. Files named by Include lines are
 * not read. Threading: any.
 */
#pragma once

#include "launcher/host_view.h"
#include "muster/buf.h"
#include "muster/limits.h"

struct slurm_conf {
    int64_t kill_wait_ms;
    char node_addr[MU_MAX_NAME + 1]; /* of the node asked for; "": it is reached by its name */
};

/*
 * The file that Slurm's own programs read: of the variable SLURM_CONF, else
 * /etc/slurm/slurm.conf, else /run/slurm/conf/slurm.conf (where slurmd keeps one it was sent).
 * Slurm's defaults if there is none that can be read. Blocks on the file system.
 */
void slurm_conf_read(const struct host_view *host, const char *node, struct slurm_conf *ret_conf);

/* The same from its text; what cannot be understood is passed over. */
void slurm_conf_parse(struct mu_slice text, const char *node, struct slurm_conf *ret_conf);
