/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/cmd_mpi.h"

#include "launcher/find_program.h"
#include "launcher/mpi_exchange.h"
#include "launcher/run_program.h"
#include "muster/env.h"
#include "muster/lines.h"
#include "muster/log.h"
#include "muster/mem.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define OR_GIVE_IT "give --rdzv-endpoint HOST:PORT, the same on every node"

enum { MAX_STDERR = 8 * 1024 };

/* DIR/muster-mpi where this program is DIR/muster; NULL if it cannot be executed. */
static char *find_beside(void)
{
    char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);
    if (n <= 0) {
        return NULL;
    }
    path[n] = '\0';
    char *slash = strrchr(path, '/');
    if (slash == NULL) {
        return NULL;
    }
    *slash = '\0';
    mu_autofree char *beside = mu_asprintf("%s/muster-mpi", path);
    return find_program(beside, environ, NULL);
}

char *cmd_mpi_program(struct mu_err *err)
{
    const char *wanted = mu_env_get(environ, "MUSTER_MPI_HELPER");
    if (wanted != NULL && wanted[0] != '\0') {
        char *program = find_program(wanted, environ, err);
        if (program == NULL) {
            mu_err_wrap(err, "MUSTER_MPI_HELPER");
        }
        return program;
    }
    char *beside = find_beside();
    return beside != NULL ? beside : find_program("muster-mpi", environ, err);
}

static void say_stderr(const struct mu_buf *text)
{
    struct mu_slice rest = {.ptr = (const char *)text->data, .len = text->len};
    struct mu_slice line;
    while (lines_next(&rest, &line)) {
        mu_log(MU_LOG_ERROR, "muster-mpi: " MU_SLICE_FMT, MU_SLICE_ARG(line));
    }
}

static int fail_late(const struct options *opts, struct mu_err *err)
{
    return mu_err_set(err, MU_E_TIMEOUT, 0,
                      "the other processes of mpirun have not answered within %g s: they do not "
                      "run muster, or MPI cannot reach them from here (mpirun --mca "
                      "btl_tcp_if_include NETWORK says by which network); or " OR_GIVE_IT,
                      (double)opts->join_timeout_ms / 1000);
}

/* The answer of muster-mpi; this process itself stays out of MPI. */
static int ask(const struct options *opts, char *program, struct mpi_exchange *ret_exchange,
               struct mu_err *err)
{
    static char command[] = "exchange";
    char *argv[] = {program, command, NULL};
    const struct run_program_limits limits = {.timeout_ms = opts->join_timeout_ms,
                                              .out_max = MPI_EXCHANGE_MAX_TEXT,
                                              .err_max = MAX_STDERR};
    struct run_program_result result = {0};
    char ending[128];
    int rc = run_program(argv, environ, &limits, &result, err);
    outcome_describe(result.outcome, ending, sizeof(ending));
    if (rc != 0 && err->code == MU_E_TIMEOUT) {
        fail_late(opts, err);
    } else if (rc == 0 && !outcome_is_success(result.outcome)) {
        rc = mu_err_set(err, MU_E_SYSTEM, 0,
                        "%.200s, which asks MPI where the first node is, %s; or " OR_GIVE_IT,
                        program, ending);
    } else if (rc == 0) {
        struct mu_slice text = {.ptr = (const char *)result.out.data, .len = result.out.len};
        rc = mpi_exchange_parse(text, ret_exchange, err);
    }
    if (rc != 0) {
        say_stderr(&result.err);
        mu_err_wrap(err, "no address of the first node");
    }
    run_program_fini(&result);
    return rc;
}

static int take(struct sched *sched, struct mpi_exchange *x, struct mu_err *err)
{
    if (x->size != sched->node_count || x->rank != (uint32_t)sched->node_index) {
        return mu_err_set(err, MU_E_PROTOCOL, 0,
                          "mpirun says that this is process %d of %u, MPI that it is %u of %u: "
                          "muster-mpi belongs to another MPI; or " OR_GIVE_IT,
                          sched->node_index, sched->node_count, x->rank, x->size);
    }
    for (size_t i = 0; i < x->address_count && sched->place_count < SCHED_PLACES; i++) {
        snprintf(sched->places[sched->place_count++], sizeof(sched->places[0]), "%s",
                 x->addresses[i]);
    }
    sched->hosts = x->hosts; /* takes */
    x->hosts = (struct hostlist){0};
    return 0;
}

/* All ranks have the same options, so all of them ask or none does. */
static bool is_needed(const struct options *opts, const struct sched *sched)
{
    bool is_one_node =
        opts->origin[OPTION_nnodes] != OPTIONS_FROM_DEFAULT && opts->nnodes.max + opts->spares == 1;
    return sched != NULL && sched->kind == SCHED_OPENMPI && sched->node_count > 1 &&
           !opts->standalone && !opts->fabric && !is_one_node &&
           opts->rdzv_endpoint.host[0] == '\0' && opts->master_addr == NULL;
}

int cmd_mpi_meet(const struct options *opts, struct sched *sched, struct mu_err *err)
{
    if (!is_needed(opts, sched)) {
        return 0;
    }
    mu_autofree char *program = cmd_mpi_program(err);
    if (program == NULL) {
        mu_err_wrap(err, "mpirun started this process, and muster-mpi is to ask MPI where the "
                         "first node is; install it beside muster, or " OR_GIVE_IT);
        return -1;
    }
    struct mpi_exchange x = {0};
    if (ask(opts, program, &x, err) != 0) {
        return -1;
    }
    int rc = take(sched, &x, err);
    mpi_exchange_fini(&x);
    return rc;
}
