/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/cmd_check.h"

#include "launcher/check_facts.h"
#include "launcher/check_meet.h"
#include "launcher/check_report.h"
#include "launcher/cmd.h"
#include "launcher/net_iface.h"
#include "muster/env.h"
#include "muster/log.h"
#include "muster/mem.h"
#include "muster/num.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What the agent says of this worker's place. */
struct place {
    int64_t rank;
    int64_t count;
    int64_t port;
    const char *address;
};

static int read_place(struct place *p, struct mu_err *err)
{
    const char *rank = mu_env_get(environ, "RANK");
    const char *count = mu_env_get(environ, "WORLD_SIZE");
    const char *port = mu_env_get(environ, "MASTER_PORT");
    p->address = mu_env_get(environ, "MASTER_ADDR");
    if (rank == NULL || count == NULL || port == NULL || p->address == NULL) {
        return mu_err_set(err, MU_E_USAGE, 0, "this is started by `muster check` alone");
    }
    return mu_parse_int(count, 1, MU_MAX_NODES, &p->count, err) != 0 ||
                   mu_parse_int(rank, 0, p->count - 1, &p->rank, err) != 0 ||
                   mu_parse_int(port, 1, UINT16_MAX, &p->port, err) != 0
               ? -1
               : 0;
}

static json_t *collect_facts(const struct options *opts)
{
    struct host_view host = host_view_of(environ);
    struct check_spec spec = {.node_name = opts->node_name,
                              .script = opts->script,
                              .is_module = opts->module,
                              .is_program = opts->no_python,
                              .python = opts->python,
                              .require = opts->require,
                              .limit = opts->limit,
                              .log_dir = opts->log_dir,
                              .sched = opts->sched,
                              .workers = opts->nproc_per_node > 0 ? opts->nproc_per_node : 0};
    return check_facts_collect(&host, &spec);
}

/* Everything is here: say it, on standard output. */
static int print(const struct options *opts, const struct check_report *r,
                 const struct check_findings *findings, struct mu_err *err)
{
    struct mu_buf text = {0};
    if (opts->json) {
        json_t *o = check_report_json(r, findings);
        mu_autofree char *line = json_dumps(o, JSON_INDENT(2));
        json_decref(o);
        mu_buf_printf(&text, "%s\n", line);
    } else {
        check_report_text(r, findings, &text);
    }
    int rc = cmd_print(&text, err);
    mu_buf_fini(&text);
    return rc;
}

static int report(const struct options *opts, struct check_meet *m, size_t count, int *ret_verdict,
                  struct mu_err *err)
{
    const struct options_rendezvous *z = &opts->rendezvous;
    char meeting[MU_MAX_NAME + 16];
    mu_endpoint_format(&z->endpoint, meeting, sizeof(meeting));
    struct check_report r = {.count = count,
                             .expected = (size_t)opts->nnodes.min,
                             .hosts = opts->sched != NULL ? &opts->sched->hosts : NULL,
                             .meeting = meeting,
                             .join_timeout_ms = cmd_check_join_timeout(opts)};
    if (check_meet_collect(m, &r.links, &r.facts, err) != 0) {
        return -1;
    }
    struct check_findings findings = {0};
    check_report_judge(&r, &findings);
    int verdict = check_findings_count(&findings, CHECK_ERROR) > 0 ? 1 : 0;
    int rc = print(opts, &r, &findings, err);
    check_findings_fini(&findings);
    if (rc == 0 && check_meet_tell(m, verdict, err) == 0) {
        *ret_verdict = verdict;
        return 0;
    }
    return -1;
}

static int take_part(const struct options *opts, int *ret_verdict, struct mu_err *err)
{
    struct place place = {0};
    if (read_place(&place, err) != 0) {
        return -1;
    }
    const struct net_iface_wish wish = {.names = opts->iface, .networks = opts->cidr};
    struct net_choice net = {0};
    int family = strchr(place.address, ':') != NULL ? AF_INET6 : AF_INET;
    if (place.count > 1 && net_iface_choose_here(&wish, family, &net, err) != 0) {
        return -1;
    }
    struct check_meet_spec spec = {.rank = (size_t)place.rank,
                                   .count = (size_t)place.count,
                                   .name = opts->node_name,
                                   .door = place.address,
                                   .door_port = (uint16_t)place.port,
                                   .address = net.name[0] != '\0' ? net.address : NULL};
    json_t *facts = collect_facts(opts);
    struct check_meet *m = check_meet_open(&spec, err);
    int rc = m != NULL && check_meet_probe(m, facts, err) == 0 ? 0 : -1;
    json_decref(facts);
    if (rc == 0) {
        rc = place.rank == 0 ? report(opts, m, spec.count, ret_verdict, err)
                             : check_meet_wait(m, ret_verdict, err);
    }
    check_meet_close(m);
    return rc;
}

static int hand_over(const char *path, int verdict, struct mu_err *err)
{
    const char text = (char)('0' + verdict);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool is_told = fd >= 0 && write(fd, &text, 1) == 1;
    int sys = errno;
    close(fd);
    return is_told ? 0 : mu_err_set(err, MU_E_SYSTEM, sys, "tell the agent what the check found");
}

int cmd_check_worker(int argc, char **argv)
{
    struct options opts;
    struct mu_err err = MU_ERR_INIT;
    int status;
    if (argc < 3) {
        mu_err_set(&err, MU_E_USAGE, 0, "this is started by `muster check` alone");
        return cmd_fail(&err);
    }
    unsetenv("TORCHELASTIC_RUN_ID"); /* the scheduler's word counts here as for the agent */
    bool is_run = strcmp(argv[2], "run") == 0;
    if (!cmd_begin(is_run ? OPTIONS_RUN : OPTIONS_CHECK, argc - 2, argv + 2, &opts, &status)) {
        return status;
    }
    int verdict = 1;
    mu_log_set_node(opts.node_name);
    int rc = take_part(&opts, &verdict, &err);
    cmd_end(&opts);
    return rc == 0 && hand_over(argv[1], verdict, &err) == 0 ? 0 : cmd_fail(&err);
}
