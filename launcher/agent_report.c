/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the coordinator is told of the workers of a round. It is kept until the next round: after a
 * connection was lost, or with a new coordinator, all of it is said again. Nothing is said between
 * HELLO and WELCOME: only with all that came before it does it mean what it should.
 */
#include "launcher/agent_impl.h"

#include "muster/limits.h"
#include "muster/mem.h"

void agent_report_forget(struct agent *a)
{
    for (uint32_t i = 0; i < a->exit_count; i++) {
        free(a->exits[i].text);
    }
    a->exit_count = 0;
    a->is_started = false;
    a->is_over = false;
    a->left = 0;
    a->is_given_up = false;
    a->assignment.round = 0;
}

void agent_report_started(struct agent *a)
{
    struct mu_buf pids = {0};
    for (uint32_t i = 0; i < a->config.slots; i++) {
        mu_buf_append_u32(&pids, a->pids[i]);
    }
    if (agent_is_joined(a)) {
        struct agent_effect *e = agent_effect_add(a, AGENT_SEND);
        e->text = (char *)pids.data;
        e->msg = (struct ctl_msg){
            .type = CTL_STARTED,
            .started = {.round = a->assignment.round, .pids = {.ptr = e->text, .len = pids.len}}};
    } else {
        mu_buf_fini(&pids);
    }
}

static void send_exited(struct agent *a, const struct agent_kept_exit *kept)
{
    if (!agent_is_joined(a)) {
        return;
    }
    struct ctl_exited x = kept->exited;
    struct mu_slice *texts[] = {&x.sentence, &x.hint,  &x.message, &x.error_file,
                                &x.log_file, &x.quote, &x.tail};
    struct agent_effect *e = agent_effect_add(a, AGENT_SEND);
    size_t len = (size_t)(x.tail.ptr + x.tail.len - kept->text);
    e->text = mu_slice_dup((struct mu_slice){.ptr = kept->text, .len = len});
    for (size_t i = 0; i < MU_COUNT(texts); i++) {
        texts[i]->ptr = e->text + (texts[i]->ptr - kept->text);
    }
    e->msg = (struct ctl_msg){.type = CTL_EXITED, .exited = x};
}

/* Copy a text to the end of `out`; at most `max` bytes of it. Only then its place is known. */
static void keep(struct mu_buf *out, struct mu_slice text, size_t max, struct mu_slice *ret)
{
    *ret = (struct mu_slice){.ptr = NULL, .len = text.len < max ? text.len : max};
    mu_buf_append(out, text.ptr, ret->len);
}

void agent_report_exited(struct agent *a, uint32_t local_rank, const struct agent_exit *x)
{
    MU_REQUIRE(a->exit_count < a->config.slots);
    struct agent_kept_exit *kept = &a->exits[a->exit_count++];
    struct ctl_exited m = {.round = a->assignment.round,
                           .local_rank = local_rank,
                           .pid = a->pids[local_rank],
                           .kind = (uint8_t)x->outcome.kind,
                           .stage = (uint8_t)x->outcome.stage,
                           .core_dumped = x->outcome.core_dumped,
                           .code = x->outcome.code,
                           .cause = (uint8_t)x->cause,
                           .blame = (uint8_t)x->blame,
                           .was_ending = x->was_ending,
                           .unix_ms = x->unix_ms};
    struct mu_slice tail = x->tail;
    if (tail.len > MU_REPORT_TAIL) {
        tail.ptr += tail.len - MU_REPORT_TAIL;
    }
    struct mu_buf all = {0};
    keep(&all, x->sentence, MU_REPORT_SENTENCE, &m.sentence);
    keep(&all, x->hint, MU_REPORT_HINT, &m.hint);
    keep(&all, x->message, MU_REPORT_TAIL, &m.message);
    keep(&all, x->error_file, MU_REPORT_PATH, &m.error_file);
    keep(&all, x->log_file, MU_REPORT_PATH, &m.log_file);
    keep(&all, x->quote, MU_REPORT_TAIL, &m.quote);
    keep(&all, tail, MU_REPORT_TAIL, &m.tail);
    mu_buf_append_u8(&all, '\0');
    kept->text = (char *)all.data;
    const char *at = kept->text;
    struct mu_slice *texts[] = {&m.sentence, &m.hint,  &m.message, &m.error_file,
                                &m.log_file, &m.quote, &m.tail};
    for (size_t i = 0; i < MU_COUNT(texts); i++) {
        texts[i]->ptr = at;
        at += texts[i]->len;
    }
    kept->exited = m;
    send_exited(a, kept);
}

void agent_report_stopped(struct agent *a)
{
    if (agent_is_joined(a)) {
        agent_tell(a,
                   &(struct ctl_msg){.type = CTL_STOPPED,
                                     .stopped = {.round = a->assignment.round, .left = a->left}});
    }
}

/* Whatever was said on the connection that was lost may not have arrived. */
void agent_report_again(struct agent *a)
{
    if (a->assignment.round == 0) {
        return;
    }
    if (a->is_started) {
        agent_report_started(a);
    }
    for (uint32_t i = 0; i < a->exit_count; i++) {
        send_exited(a, &a->exits[i]);
    }
    if (a->is_over) {
        agent_report_stopped(a);
    }
}
