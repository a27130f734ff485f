/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/launch_explain.h"

#include "muster/lines.h"
#include "muster/mem.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum {
    SSH_FAILED = 255, /* ssh(1), EXIT STATUS */
    NOT_EXECUTABLE = 126,
    NOT_FOUND = 127,
    MAX_QUOTE = 200,
};

/* Words of OpenSSH's client, and what helps. */
static const struct {
    const char *words;
    const char *remedy; /* `%s` is the host */
} failures[] = {
    {"Host key verification failed",
     "its key is not known here, or another one: run `ssh %s` once and accept it"},
    {"REMOTE HOST IDENTIFICATION HAS CHANGED",
     "it shows another key than before: see to it with `ssh %s`"},
    {"Permission denied",
     "it must let you in without a password: `ssh-copy-id %s`, or a key in an agent"},
    {"Too many authentication failures", "name the right key: --ssh-command 'ssh -i KEY'"},
    {"Could not resolve hostname", "check the name in the host file"},
    {"Connection refused",
     "no ssh server listens there; another port: --ssh-command 'ssh -p PORT'"},
    {"timed out", "it does not answer: is it up, and reachable from here?"},
    {"No route to host", "it does not answer: is it up, and reachable from here?"},
    {"Network is unreachable", "it does not answer: is it up, and reachable from here?"},
};

/* A shell's word for a program that is not there: 127, but for csh's. */
static bool is_not_found(const struct launch_end *end)
{
    return end->exit_status == NOT_FOUND ||
           (end->exit_status == 1 && lines_find(end->said, "Command not found") != NULL);
}

/* The line that says it: ssh's own, or one with the program's name, or the last one. */
static char *quote(const struct launch_end *end, size_t *ret_failure)
{
    struct mu_slice line = lines_last(end->said, 1, MAX_QUOTE);
    const char *named = lines_find(end->said, end->muster);
    if (named != NULL) {
        line = lines_first(lines_around(end->said, named), 1, MAX_QUOTE);
    }
    *ret_failure = MU_COUNT(failures);
    for (size_t i = 0; i < MU_COUNT(failures); i++) {
        const char *at = lines_find(end->said, failures[i].words);
        if (at != NULL) {
            line = lines_first(lines_around(end->said, at), 1, MAX_QUOTE);
            *ret_failure = i;
            break;
        }
    }
    char *text = mu_slice_dup(mu_slice_trim(line));
    size_t len = lines_strip_escapes(text, strlen(text));
    text[len] = '\0';
    lines_flatten(text);
    return text;
}

static void add_quote(struct mu_buf *out, const char *said)
{
    if (said[0] != '\0') {
        mu_buf_printf(out, " (%s)", said);
    }
}

char *launch_explain(const struct launch_end *end)
{
    struct mu_buf out = {0};
    size_t failure = 0;
    mu_autofree char *said = quote(end, &failure);
    mu_buf_printf(&out, "%s: ", end->host);
    if (end->signo != 0) {
        mu_buf_printf(&out, "%s was ended by signal %d (%s) before muster ran there", end->ssh,
                      end->signo, strsignal(end->signo));
    } else if (is_not_found(end)) {
        mu_buf_printf(&out, "there is no %s; muster must have the same path on every host",
                      end->muster);
        add_quote(&out, said);
    } else if (end->exit_status == NOT_EXECUTABLE) {
        mu_buf_printf(&out, "%s cannot be executed", end->muster);
        add_quote(&out, said);
    } else if (end->exit_status == SSH_FAILED) {
        mu_buf_printf(&out, "%s cannot log in", end->ssh);
        add_quote(&out, said);
        if (failure < MU_COUNT(failures)) {
            const char *remedy = failures[failure].remedy;
            const char *name = strstr(remedy, "%s");
            mu_buf_printf(&out, ": %.*s%s%s", name != NULL ? (int)(name - remedy) : 1000, remedy,
                          name != NULL ? end->host : "", name != NULL ? name + 2 : "");
        }
    } else {
        mu_buf_printf(&out, "the login shell ended with exit status %d before muster ran",
                      end->exit_status);
        add_quote(&out, said);
    }
    return mu_buf_take_text(&out);
}
