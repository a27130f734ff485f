/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/cmd.h"

#include "launcher/cmd_check.h"
#include "launcher/cmd_docs.h"
#include "launcher/cmd_launch.h"
#include "launcher/cmd_mpi.h"
#include "launcher/launch_order.h"
#include "launcher/options_check.h"
#include "launcher/options_parse.h"
#include "launcher/sched_defaults.h"
#include "muster/log.h"
#include "muster/mem.h"
#include "muster/names.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const struct cmd commands[] = {
    {"run", "Start and watch the workers of one node of a job", cmd_run},
    {"serve", "Serve the rendezvous as a daemon of its own", cmd_serve},
    {"check", "Find out whether these nodes are fit to train on", cmd_check},
    {"status", "Show who is in a job, in what state, since when", cmd_status},
    {"version", "Show the version and what muster was built with", cmd_version},
    {"help", "Explain a command", cmd_help},
};

const struct cmd *cmd_table(size_t *ret_count)
{
    *ret_count = MU_COUNT(commands);
    return commands;
}

int cmd_fail(const struct mu_err *err)
{
    mu_log(MU_LOG_ERROR, "%s", err->text);
    return mu_err_exit_status(err);
}

int cmd_print(const struct mu_buf *text, struct mu_err *err)
{
    if (fwrite(text->data, 1, text->len, stdout) != text->len || fflush(stdout) != 0) {
        return mu_err_set(err, MU_E_SYSTEM, errno, "write to standard output");
    }
    return 0;
}

/* A job on this node alone is nobody else's business. */
static int read_sched(struct options *opts, struct mu_err *err)
{
    bool is_of_job = opts->command == OPTIONS_RUN || opts->command == OPTIONS_CHECK;
    if (!is_of_job || opts->standalone) {
        return 0;
    }
    struct host_view host = host_view_of(environ);
    struct sched_wish wish = {.scheduler = opts->scheduler,
                              .hostfile = opts->hostfile,
                              .is_outside = cmd_launch_is_wanted(opts)};
    struct sched *sched = NULL;
    if (sched_read(&host, &wish, &sched, err) != 0 || cmd_mpi_meet(opts, sched, err) != 0) {
        sched_free(sched);
        return -1;
    }
    opts->sched = sched;
    return sched != NULL ? sched_defaults_apply(opts, sched, err) : 0;
}

void cmd_end(struct options *opts)
{
    sched_free((struct sched *)(uintptr_t)opts->sched);
    opts->sched = NULL;
}

/*
 * Another process of the job says it. What started both may kill that one when this one has failed
 * (mpirun does, srun --kill-on-bad-exit), so it gets the time to speak.
 */
static int fail_silently(const struct mu_err *err)
{
    enum { SPEAKERS_LEAD_US = 500 * 1000 };
    usleep(SPEAKERS_LEAD_US);
    return mu_err_exit_status(err);
}

bool cmd_begin(enum options_command command, int argc, char **argv, struct options *ret_opts,
               int *ret_status)
{
    struct mu_err err = MU_ERR_INIT;
    if (options_parse(ret_opts, command, argc, argv, environ, &err) != 0) {
        *ret_status = cmd_fail(&err);
        return false;
    }
    ret_opts->leash = cmd_launch_leash();
    if (ret_opts->help) {
        struct mu_buf text = {0};
        cmd_docs_help(command, &text);
        *ret_status = cmd_print(&text, &err) == 0 ? 0 : cmd_fail(&err);
        mu_buf_fini(&text);
        return false;
    }
    if (read_sched(ret_opts, &err) != 0 || options_check(ret_opts, &err) != 0) {
        cmd_end(ret_opts);
        *ret_status = ret_opts->is_echo ? fail_silently(&err) : cmd_fail(&err);
        return false;
    }
    mu_log_set_level((enum mu_log_level)mu_log_level_of(ret_opts->log_level));
    return true;
}

/* What torchrun's users type first: its options, or the script, where a command belongs. */
static int fail_unknown(const char *word)
{
    struct mu_err err = MU_ERR_INIT;
    const char *names[MU_COUNT(commands)];
    for (size_t i = 0; i < MU_COUNT(commands); i++) {
        names[i] = commands[i].name;
    }
    const char *nearest = mu_names_nearest(word, names, MU_COUNT(names));
    size_t len = strlen(word);
    bool is_script = len > 3 && strcmp(word + len - 3, ".py") == 0;
    if (word[0] == '-' || is_script) {
        mu_err_set(&err, MU_E_USAGE, 0, "'%s' is no command; did you mean 'muster run %s ...'?",
                   word, word);
    } else if (nearest != NULL) {
        mu_err_set(&err, MU_E_USAGE, 0, "unknown command '%s'; did you mean '%s'?", word, nearest);
    } else {
        mu_err_set(&err, MU_E_USAGE, 0, "unknown command '%s'; 'muster help' lists all", word);
    }
    return cmd_fail(&err);
}

/* Is muster called by torchrun's name, by a link or a copy? Then it is `muster run`. */
static bool is_torchrun(const char *program)
{
    const char *slash = strrchr(program, '/');
    return strcmp(slash != NULL ? slash + 1 : program, "torchrun") == 0;
}

int cmd_run_named(int argc, char **argv)
{
    for (size_t i = 0; i < MU_COUNT(commands); i++) {
        if (strcmp(argv[0], commands[i].name) == 0) {
            return commands[i].handler(argc, argv);
        }
    }
    return fail_unknown(argv[0]);
}

int cmd_main(int argc, char **argv)
{
    static const struct {
        const char *option;
        const char *command;
    } aliases[] = {{"-h", "help"}, {"--help", "help"}, {"--version", "version"}};

    if (argc > 0 && is_torchrun(argv[0])) {
        return cmd_run(argc, argv);
    }
    if (argc < 2) {
        struct mu_buf text = {0};
        cmd_docs_usage(&text);
        mu_log_raw((const char *)text.data, text.len);
        mu_buf_fini(&text);
        return 2;
    }
    const char *name = argv[1];
    if (strcmp(name, "check-worker") == 0) {
        return cmd_check_worker(argc - 1, argv + 1); /* in no list: nobody types it */
    }
    for (size_t i = 0; i < MU_COUNT(aliases); i++) {
        if (strcmp(name, aliases[i].option) == 0) {
            name = aliases[i].command;
        }
    }
    if (strcmp(name, LAUNCH_COMMAND) == 0) {
        return cmd_launched(argc - 1, argv + 1);
    }
    argv[1] = (char *)(uintptr_t)name;
    return cmd_run_named(argc - 1, argv + 1);
}
