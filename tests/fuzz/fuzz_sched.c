/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any environment, to every reader of sched.h: what they make of it is within its bounds, and the
 * options take it or say what is wrong. The first byte chooses --scheduler; then lines
 * "NAME=value".
 */
#include "launcher/sched.h"

#include "launcher/options_check.h"
#include "launcher/options_parse.h"
#include "launcher/sched_check.h"
#include "muster/mem.h"
#include "muster/names.h"
#include "tests/fuzz/fuzz_target.h"

#include <string.h>

enum { MAX_LINES = 64 };

static void check_ports(const struct sched *s)
{
    MU_REQUIRE(s->port_count <= SCHED_PORTS);
    for (size_t i = 0; i < s->port_count; i++) {
        MU_REQUIRE(s->ports[i] > 0);
    }
}

static void check(const struct sched *s)
{
    MU_REQUIRE(s->name != NULL && s->name[0] != '\0');
    MU_REQUIRE(s->hosts.count <= MU_MAX_NODES);
    MU_REQUIRE(strlen(s->run_id) <= MU_MAX_NAME && strlen(s->node_name) <= MU_MAX_NAME);
    MU_REQUIRE(strlen(s->job_id) < sizeof(s->job_id));
    MU_REQUIRE(strlen(s->refusal) < sizeof(s->refusal));
    MU_REQUIRE(s->node_index >= -1 && s->kill_wait_ms >= 0);
    MU_REQUIRE(s->place_count <= SCHED_PLACES);
    for (size_t i = 0; i < s->place_count; i++) {
        MU_REQUIRE(mu_names_is_presentable(mu_slice_of(s->places[i])));
    }
    check_ports(s);
}

static void use(const struct sched *s, char *const *envp)
{
    static char name[] = "command";
    static char script[] = "t.py";
    char *argv[] = {name, script, NULL};
    struct options opts;
    struct mu_err err = MU_ERR_INIT;
    if (options_parse(&opts, OPTIONS_RUN, 2, argv, envp, &err) == 0) {
        opts.sched = s;
        if (options_check(&opts, &err) == 0) {
            struct mu_buf text = {0};
            sched_check_remarks(&opts, &text);
            mu_buf_fini(&text);
            return;
        }
    }
    MU_REQUIRE(err.code == MU_E_USAGE && err.text[0] != '\0');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const words[] = {"auto", "slurm", "openmpi", "kubernetes",
                                        "flux", "pbs",   "lsf"};
    if (size == 0) {
        return 0;
    }
    mu_autofree char *text = mu_alloc(size);
    memcpy(text, data + 1, size - 1);
    char *envp[MAX_LINES + 1] = {NULL};
    size_t count = 0;
    char *rest = NULL;
    for (char *line = strtok_r(text, "\n", &rest); line != NULL && count < MAX_LINES;
         line = strtok_r(NULL, "\n", &rest)) {
        envp[count++] = line;
    }
    const struct host_view host = {.root = "/nonexistent", .envp = envp};
    const struct sched_wish wish = {.scheduler = words[data[0] % MU_COUNT(words)]};
    struct sched *s = NULL;
    struct mu_err err = MU_ERR_INIT;
    int rc = sched_read(&host, &wish, &s, &err);
    MU_REQUIRE((rc == 0) == (err.code == MU_E_NONE));
    if (rc != 0) {
        MU_REQUIRE(err.code == MU_E_USAGE && err.text[0] != '\0' && s == NULL);
    } else if (s != NULL) {
        check(s);
        use(s, envp);
    }
    sched_free(s);
    return 0;
}
