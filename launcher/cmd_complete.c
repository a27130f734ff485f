/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/cmd_complete.h"

#include "launcher/cmd.h"
#include "launcher/cmd_docs.h"
#include "launcher/options.h"

#include <string.h>

/* Calls `row_fn` for every option of `command`. */
static void each_option(enum options_command command, const char *name,
                        void (*row_fn)(const char *, const struct options_row *, struct mu_buf *),
                        struct mu_buf *text)
{
    for (enum options_id id = 0; id < OPTION_COUNT; id++) {
        const struct options_row *row = &options_table()[id];
        if ((row->commands & command) != 0) {
            row_fn(name, row, text);
        }
    }
}

/* "a|b" as "a b". */
static void append_choices(const char *choices, struct mu_buf *text)
{
    for (const char *p = choices; *p != '\0'; p++) {
        mu_buf_append_u8(text, (uint8_t)(*p == '|' ? ' ' : *p));
    }
}

/* The first sentence of the help, for use between single quotes; `special` gets a backslash. */
static void append_summary(const char *help, const char *special, struct mu_buf *text)
{
    for (const char *p = help; *p != '\0' && !(p[0] == '.' && (p[1] == ' ' || p[1] == '\0')); p++) {
        if (*p == '\'') {
            mu_buf_printf(text, "'\\''");
            continue;
        }
        if (strchr(special, *p) != NULL) {
            mu_buf_append_u8(text, '\\');
        }
        mu_buf_append_u8(text, (uint8_t)*p);
    }
}

static void bash_option(const char *command, const struct options_row *row, struct mu_buf *text)
{
    (void)command;
    mu_buf_printf(text, " --%s", row->name);
}

static void bash_choices(const char *command, const struct options_row *row, struct mu_buf *text)
{
    if (row->choices != NULL) {
        mu_buf_printf(text, "    '%s --%s') words='", command, row->name);
        append_choices(row->choices, text);
        mu_buf_printf(text, "' ;;\n");
    }
}

static void bash_script(const struct cmd *commands, size_t count, struct mu_buf *text)
{
    mu_buf_printf(text,
                  "# bash completion of muster\n"
                  "_muster()\n"
                  "{\n"
                  "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}\n"
                  "    local commands='");
    for (size_t i = 0; i < count; i++) {
        mu_buf_printf(text, "%s%s", i > 0 ? " " : "", commands[i].name);
    }
    mu_buf_printf(text, "' words=\n"
                        "    COMPREPLY=()\n"
                        "    case \"${COMP_WORDS[1]} $cur\" in\n");
    for (size_t i = 0; i < count; i++) {
        enum options_command bit = cmd_docs_command_of(commands[i].name);
        if (bit != 0) {
            mu_buf_printf(text, "    '%s -'*) words='", commands[i].name);
            each_option(bit, commands[i].name, bash_option, text);
            mu_buf_printf(text, "' ;;\n");
        }
    }
    mu_buf_printf(text, "    'help '*) words=$commands ;;\n"
                        "    esac\n"
                        "    case \"${COMP_WORDS[1]} $prev\" in\n");
    for (size_t i = 0; i < count; i++) {
        each_option(cmd_docs_command_of(commands[i].name), commands[i].name, bash_choices, text);
    }
    mu_buf_printf(text, "    esac\n"
                        "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
                        "        words=\"$commands --help --version\"\n"
                        "    fi\n"
                        "    if [ -n \"$words\" ]; then\n"
                        "        COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
                        "    fi\n"
                        "}\n"
                        "complete -o default -F _muster muster\n");
}

static void zsh_option(const char *command, const struct options_row *row, struct mu_buf *text)
{
    (void)command;
    bool is_flag = row->value_name == NULL;
    mu_buf_printf(text, "            '--%s%s[", row->name, is_flag ? "" : "=");
    append_summary(row->help, "[]:", text);
    mu_buf_append_u8(text, ']');
    if (!is_flag) {
        mu_buf_append_u8(text, ':');
        append_summary(row->value_name, "[]:", text);
        mu_buf_append_u8(text, ':');
        if (row->choices != NULL) {
            mu_buf_append_u8(text, '(');
            append_choices(row->choices, text);
            mu_buf_append_u8(text, ')');
        } else {
            mu_buf_printf(text, "_files");
        }
    }
    mu_buf_printf(text, "' \\\n");
}

static void zsh_script(const struct cmd *commands, size_t count, struct mu_buf *text)
{
    mu_buf_printf(text, "#compdef muster\n"
                        "_muster() {\n"
                        "    local -a commands\n"
                        "    commands=(\n");
    for (size_t i = 0; i < count; i++) {
        mu_buf_printf(text, "        '%s:", commands[i].name);
        append_summary(commands[i].summary, ":", text);
        mu_buf_printf(text, "'\n");
    }
    mu_buf_printf(text, "    )\n"
                        "    if ((CURRENT == 2)); then\n"
                        "        _describe command commands\n"
                        "        return\n"
                        "    fi\n"
                        "    shift words\n"
                        "    ((CURRENT--))\n"
                        "    case $words[1] in\n");
    for (size_t i = 0; i < count; i++) {
        enum options_command bit = cmd_docs_command_of(commands[i].name);
        if (bit != 0) {
            mu_buf_printf(text, "    %s)\n        _arguments \\\n", commands[i].name);
            each_option(bit, commands[i].name, zsh_option, text);
            mu_buf_printf(text, "            '*:argument:_files'\n        ;;\n");
        }
    }
    mu_buf_printf(text, "    help)\n"
                        "        _describe command commands\n"
                        "        ;;\n"
                        "    esac\n"
                        "}\n"
                        "_muster \"$@\"\n");
}

static void fish_option(const char *command, const struct options_row *row, struct mu_buf *text)
{
    mu_buf_printf(text, "complete -c muster -n '__fish_seen_subcommand_from %s' -l %s", command,
                  row->name);
    if (row->short_name != 0) {
        mu_buf_printf(text, " -s %c", row->short_name);
    }
    if (row->choices != NULL) {
        mu_buf_printf(text, " -x -a '");
        append_choices(row->choices, text);
        mu_buf_append_u8(text, '\'');
    } else if (row->value_name != NULL) {
        mu_buf_printf(text, " -r");
    }
    mu_buf_printf(text, " -d '");
    append_summary(row->help, "", text);
    mu_buf_printf(text, "'\n");
}

static void fish_script(const struct cmd *commands, size_t count, struct mu_buf *text)
{
    mu_buf_printf(text, "# fish completion of muster\n");
    for (size_t i = 0; i < count; i++) {
        mu_buf_printf(text, "complete -c muster -n __fish_use_subcommand -f -a %s -d '",
                      commands[i].name);
        append_summary(commands[i].summary, "", text);
        mu_buf_printf(text, "'\n");
        each_option(cmd_docs_command_of(commands[i].name), commands[i].name, fish_option, text);
    }
}

int cmd_complete_script(const char *shell, struct mu_buf *text, struct mu_err *err)
{
    size_t count;
    const struct cmd *commands = cmd_table(&count);
    if (strcmp(shell, "bash") == 0) {
        bash_script(commands, count, text);
    } else if (strcmp(shell, "zsh") == 0) {
        zsh_script(commands, count, text);
    } else if (strcmp(shell, "fish") == 0) {
        fish_script(commands, count, text);
    } else {
        return mu_err_set(err, MU_E_USAGE, 0, "'%s' is none of bash, zsh or fish", shell);
    }
    return 0;
}
