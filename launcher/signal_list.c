/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/signal_list.h"

#include "muster/limits.h"
#include "muster/mem.h"
#include "muster/outcome.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

/* Why a signal cannot end the job; NULL: it can. */
static const char *refusal(int signo)
{
    switch (signo) {
    case SIGKILL:
    case SIGSTOP:
        return "no program can handle it";
    case SIGCHLD:
        return "it tells muster that a process ended";
    case SIGPIPE:
        return "muster ignores it: a reader of its output that goes away ends nothing";
    case SIGSEGV:
    case SIGBUS:
    case SIGFPE:
    case SIGILL:
    case SIGTRAP:
    case SIGABRT:
    case SIGSYS:
        return "it is a fault of the program that gets it";
    default:
        return NULL;
    }
}

static void add(struct signal_list *list, const char *option, const char *name,
                struct mu_buf *warnings)
{
    int signo = outcome_signal_number(name);
    if (signo == 0) {
        const char *nearest = outcome_signal_nearest(name);
        mu_buf_printf(warnings, "--%s: there is no signal '%s'%s%s%s\n", option, name,
                      nearest != NULL ? "; did you mean " : "", nearest != NULL ? nearest : "",
                      nearest != NULL ? "?" : "");
        return;
    }
    const char *why = refusal(signo);
    if (why != NULL) {
        char text[32];
        outcome_signal_name(signo, text, sizeof(text));
        mu_buf_printf(warnings, "--%s: %s cannot end the job: %s\n", option, text, why);
        return;
    }
    list->bits |= UINT64_C(1) << (signo - 1);
}

void signal_list_parse(const char *option, const char *text, struct signal_list *ret_list,
                       struct mu_buf *warnings)
{
    *ret_list = (struct signal_list){0};
    struct mu_slice entry;
    while (mu_slice_next_entry(&text, &entry)) {
        if (entry.len > 0) {
            mu_autofree char *name = mu_slice_dup(entry);
            add(ret_list, option, name, warnings);
        }
    }
}

bool signal_list_has(const struct signal_list *list, int signo)
{
    return signo >= 1 && signo <= 64 && (list->bits >> (signo - 1) & 1) != 0;
}
