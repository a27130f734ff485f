/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/sched.h"

#include "launcher/sched_impl.h"
#include "muster/env.h"
#include "muster/mem.h"
#include "muster/num.h"

#include <stdlib.h>
#include <string.h>

typedef int read_fn(const struct host_view *host, struct sched *s, struct mu_err *err);

/* mpirun inside an allocation of Slurm's starts one agent per node, Slurm does not: so it is first.
 */
static const struct {
    const char *word; /* of --scheduler */
    const char *name;
    enum sched_kind kind;
    read_fn *read;
} readers[] = {
    {"openmpi", "Open MPI", SCHED_OPENMPI, sched_openmpi_read},
    {"slurm", "Slurm", SCHED_SLURM, sched_slurm_read},
    {"flux", "Flux", SCHED_FLUX, sched_flux_read},
    {"pbs", "PBS", SCHED_PBS, sched_pbs_read},
    {"lsf", "LSF", SCHED_LSF, sched_lsf_read},
    {"kubernetes", "Kubernetes", SCHED_KUBERNETES, sched_kubernetes_read},
};

const char *sched_text(const struct host_view *host, const char *name)
{
    const char *text = mu_env_get(host->envp, name);
    return text != NULL && text[0] != '\0' ? text : NULL;
}

int64_t sched_number(const struct host_view *host, const char *name, int64_t fallback)
{
    const char *text = sched_text(host, name);
    int64_t value = 0;
    return text != NULL && mu_parse_int(text, 0, INT32_MAX, &value, NULL) == 0 ? value : fallback;
}

static struct sched *sched_new(enum sched_kind kind, const char *name)
{
    struct sched *s = mu_alloc(sizeof(*s));
    s->kind = kind;
    s->name = name;
    s->node_index = -1;
    return s;
}

int sched_read(const struct host_view *host, const struct sched_wish *wish,
               struct sched **ret_sched, struct mu_err *err)
{
    *ret_sched = NULL;
    if (strcmp(wish->scheduler, "none") == 0) {
        return 0;
    }
    bool is_any = strcmp(wish->scheduler, "auto") == 0;
    if (wish->hostfile != NULL && is_any) {
        struct sched *s = sched_new(SCHED_HOSTFILE, "the host file");
        if (sched_hostfile_read(wish->hostfile, wish->is_outside, s, err) < 0) {
            sched_free(s);
            return -1;
        }
        *ret_sched = s;
        return 0;
    }
    if (is_any && sched_text(host, "TORCHELASTIC_RUN_ID") != NULL) {
        return 0; /* a worker of that job started this process, and has all of its variables */
    }
    for (size_t i = 0; i < MU_COUNT(readers); i++) {
        if (!is_any && strcmp(wish->scheduler, readers[i].word) != 0) {
            continue;
        }
        struct sched *s = sched_new(readers[i].kind, readers[i].name);
        int rc = readers[i].read(host, s, err);
        if (rc > 0) {
            *ret_sched = s;
            return 0;
        }
        sched_free(s);
        if (rc < 0) {
            return -1;
        }
    }
    if (!is_any) {
        return mu_err_set(err, MU_E_USAGE, 0,
                          "--scheduler %s: nothing in the environment says that it started this "
                          "process; leave the option out",
                          wish->scheduler);
    }
    return 0;
}

void sched_free(struct sched *sched)
{
    if (sched != NULL) {
        hostlist_fini(&sched->hosts);
        free(sched);
    }
}

/* FNV-1a, 64 bits, and the finalizer of splitmix64: consecutive job numbers must end up far apart.
 */
static uint64_t hash_of(const char *text)
{
    uint64_t hash = UINT64_C(14695981039346656037);
    for (const char *p = text; *p != '\0'; p++) {
        hash = (hash ^ (unsigned char)*p) * UINT64_C(1099511628211);
    }
    hash = (hash ^ hash >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    hash = (hash ^ hash >> 27) * UINT64_C(0x94d049bb133111eb);
    return hash ^ hash >> 31;
}

void sched_ladder(const char *seed, uint16_t ports[SCHED_PORTS])
{
    enum { FIRST = 20000, COUNT = 12697 }; /* 20000 to 32696; a prime, so any step goes around */
    uint64_t hash = hash_of(seed);
    uint64_t at = (hash & UINT32_MAX) % COUNT;
    /* Two jobs that meet on one rung part on the next: each has a step of its own. */
    uint64_t step = 1 + (hash >> 32) % (COUNT - 1);
    for (size_t i = 0; i < SCHED_PORTS; at = (at + step) % COUNT) {
        if (FIRST + at != MU_DEFAULT_PORT) {
            ports[i++] = (uint16_t)(FIRST + at);
        }
    }
}
