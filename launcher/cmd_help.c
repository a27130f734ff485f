/* SPDX-License-Identifier: Apache-2.0 */
/*
 * muster help [COMMAND]
 *
 * And, for the build and for packagers, not shown anywhere:
 *     muster help --man COMMAND PART       a part of a manual page, see cmd_docs_man()
 *     muster help --completion SHELL       bash, zsh or fish
 */
#include "launcher/cmd.h"

#include "launcher/cmd_docs.h"
#include "launcher/cmd_complete.h"
#include "muster/names.h"

#include <string.h>

static int fail_no_topic(const char *topic, struct mu_err *err)
{
    size_t count;
    const struct cmd *commands = cmd_table(&count);
    const char *names[16];
    for (size_t i = 0; i < count; i++) {
        names[i] = commands[i].name;
    }
    const char *nearest = mu_names_nearest(topic, names, count);
    if (nearest == NULL) {
        return mu_err_set(err, MU_E_USAGE, 0, "no help on '%s'; 'muster help' lists all commands",
                          topic);
    }
    return mu_err_set(err, MU_E_USAGE, 0, "no help on '%s'; did you mean '%s'?", topic, nearest);
}

static bool is_command(const char *name)
{
    size_t count;
    const struct cmd *commands = cmd_table(&count);
    for (size_t i = 0; i < count; i++) {
        if (strcmp(name, commands[i].name) == 0) {
            return true;
        }
    }
    return false;
}

static int help_man(int argc, char **argv, struct mu_buf *text, struct mu_err *err)
{
    enum options_command command = argc == 4 ? cmd_docs_command_of(argv[2]) : 0;
    if (command == 0 || cmd_docs_man(command, argv[3], text) != 0) {
        return mu_err_set(err, MU_E_USAGE, 0, "usage: muster help --man COMMAND PART");
    }
    return 0;
}

static int help_text(int argc, char **argv, struct mu_buf *text, struct mu_err *err)
{
    /* `muster --help run` and `muster help --help` arrive here too. */
    const char *topic = argc > 1 ? argv[1] : NULL;
    if (topic == NULL || strcmp(topic, "-h") == 0 || strcmp(topic, "--help") == 0) {
        cmd_docs_help_all(text);
        return 0;
    }
    if (strcmp(topic, "--man") == 0) {
        return help_man(argc, argv, text, err);
    }
    if (strcmp(topic, "--completion") == 0) {
        return cmd_complete_script(argc > 2 ? argv[2] : "", text, err);
    }
    enum options_command command = cmd_docs_command_of(topic);
    if (command != 0) {
        cmd_docs_help(command, text);
        return 0;
    }
    if (is_command(topic)) {
        cmd_docs_help_all(text); /* help and version have nothing more to tell */
        return 0;
    }
    return fail_no_topic(topic, err);
}

int cmd_help(int argc, char **argv)
{
    struct mu_err err = MU_ERR_INIT;
    struct mu_buf text = {0};
    int rc = help_text(argc, argv, &text, &err);
    if (rc == 0) {
        rc = cmd_print(&text, &err);
    }
    mu_buf_fini(&text);
    return rc == 0 ? 0 : cmd_fail(&err);
}
