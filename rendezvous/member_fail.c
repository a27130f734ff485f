/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Failures: of a worker, of a node, and which of them is the culprit.
 */
#include "rendezvous/member_impl.h"

#include "muster/limits.h"
#include "muster/lines.h"
#include "muster/mem.h"
#include "rendezvous/rank_assign.h"

void member_failure_clear(struct member_failure *f)
{
    free(f->node_name);
    free(f->role);
    free(f->why);
    free(f->sentence);
    free(f->hint);
    free(f->message);
    free(f->error_file);
    free(f->log_file);
    free(f->quote);
    free(f->tail);
    *f = (struct member_failure){0};
}

int member_failure_status(const struct member_failure *f)
{
    bool has_status = f->is_set && !f->is_node && !f->was_ending;
    return has_status ? outcome_exit_status(f->outcome) : 1;
}

static void count_collateral(struct member_failure *f, enum cause_kind cause)
{
    f->collateral++;
    f->collateral_by[cause]++;
}

/* A better culprit than the one so far, which it has brought down. The counts go on. */
static void supersede(struct member *m, struct member_failure *by)
{
    struct member_failure *was = &m->failure;
    by->collateral = was->collateral;
    by->stopped = was->stopped;
    memcpy(by->collateral_by, was->collateral_by, sizeof(by->collateral_by));
    by->collateral_own = was->collateral_own;
    count_collateral(by, was->cause);
    member_record(m, MU_LOG_INFO, EVENT_BLAME, NULL,
                  "%s %s is taken for a consequence of what happened to %s",
                  was->is_node ? "the loss of" : "a failure on", was->node_name, by->node_name);
    member_failure_clear(was);
}

/*
 * The first failure of a round stops it. It is the culprit, too, unless it is of a kind that others
 * cause, and the other one is heard of before everything has stopped. Takes what `failure` owns.
 */
static void fail(struct member *m, const struct member_node *n, struct member_failure failure,
                 const char *text)
{
    if (m->failure.is_set && (m->failure.blame == CAUSE_OWN || failure.blame != CAUSE_OWN)) {
        count_collateral(&m->failure, failure.cause);
        m->failure.collateral_own += failure.blame == CAUSE_OWN;
        member_failure_clear(&failure);
        return;
    }
    if (m->failure.is_set) {
        supersede(m, &failure);
    }
    m->failure = failure;
    m->failure.is_set = true;
    if (!failure.is_node) {
        char *cause = member_text_failure_and_cause(m);
        member_note(m, EVENT_WORKER_FAILED, n, cause);
        free(cause);
    }
    if (m->state == MEMBER_RUNNING) {
        member_stop_round(m, SIGTERM, text);
    }
}

/* ---- workers ---- */

static bool is_valid(const struct member_node *n, const struct ctl_exited *x)
{
    return x->local_rank < n->slots && x->kind <= OUTCOME_KIND_LAST && x->kind != OUTCOME_RUNNING &&
           x->stage <= OUTCOME_STAGE_LAST && x->cause <= CAUSE_KIND_LAST &&
           x->blame <= CAUSE_BLAME_LAST && x->message.len <= MU_CTL_MAX_TEXT &&
           x->tail.len <= MU_CTL_MAX_TEXT;
}

static char *take_text(struct mu_slice s, size_t max)
{
    s.len = s.len < max ? s.len : max;
    return mu_slice_dup(s);
}

/* The same of what is shown as one line: whatever an agent sends, no control byte. */
static char *take_line(struct mu_slice s, size_t max)
{
    char *text = take_text(s, max);
    lines_flatten(text);
    return text;
}

static struct member_failure worker_failure(const struct member_node *n, const struct ctl_exited *x,
                                            struct outcome o)
{
    return (struct member_failure){
        .node = n->id,
        .local_rank = x->local_rank,
        .rank = n->first_rank + x->local_rank,
        .pid = x->pid,
        .outcome = o,
        .cause = (enum cause_kind)x->cause,
        .blame = (enum cause_blame)x->blame,
        .was_ending = x->was_ending != 0,
        .unix_ms = x->unix_ms,
        .node_name = mu_strdup(n->name),
        .role = mu_strdup(n->role),
        .sentence = take_line(x->sentence, MU_REPORT_SENTENCE),
        .hint = take_line(x->hint, MU_REPORT_HINT),
        .message = take_text(x->message, MU_REPORT_TAIL),
        .error_file = take_line(x->error_file, MU_REPORT_PATH),
        .log_file = take_line(x->log_file, MU_REPORT_PATH),
        .quote = take_text(x->quote, MU_REPORT_TAIL),
        .tail = take_text(x->tail, MU_REPORT_TAIL),
    };
}

int member_worker_exited(struct member *m, struct member_node *n, const struct ctl_exited *x,
                         struct mu_err *err)
{
    if (!is_valid(n, x)) {
        return mu_err_set(err, MU_E_PROTOCOL, 0, "malformed EXITED message");
    }
    struct member_worker *w = &n->workers[x->local_rank];
    if (w->outcome.kind != OUTCOME_RUNNING) {
        return 0; /* said twice: after a reconnect, for example */
    }
    w->outcome = (struct outcome){.kind = (enum outcome_kind)x->kind,
                                  .stage = (enum outcome_stage)x->stage,
                                  .code = x->code,
                                  .core_dumped = x->core_dumped != 0};
    w->pid = x->pid;
    n->workers_exited++;
    bool is_ordered = x->blame == CAUSE_ORDERED;
    if (outcome_is_success(w->outcome)) {
        w->was_stopped = is_ordered;
        m->has_finished = m->has_finished || !is_ordered;
        member_grow_check(m);
        return 0;
    }
    if (m->stop_signo != 0) {
        return 0;
    }
    if (m->is_growing && x->blame != CAUSE_OWN) {
        w->was_stopped = true; /* by us, or as a consequence of that */
        return 0;
    }
    if (is_ordered && m->failure.is_set) {
        w->was_stopped = true;
        m->failure.stopped++;
        return 0;
    }
    char how[128];
    outcome_describe(w->outcome, how, sizeof(how));
    char text[512];
    snprintf(text, sizeof(text), "rank %u on %s (local rank %u, pid %u) %s",
             n->first_rank + x->local_rank, n->name, x->local_rank, x->pid, how);
    fail(m, n, worker_failure(n, x, w->outcome), text);
    return 0;
}

/* ---- nodes ---- */

void member_node_failed(struct member *m, struct member_node *n, const char *why,
                        enum cause_blame blame)
{
    char text[512];
    snprintf(text, sizeof(text), "node %s (%s) was lost: %s", n->name, n->address, why);
    member_note(m, EVENT_NODE_LOST, n, text);
    if (m->failure.is_set) {
        member_log(m, MU_LOG_WARN, "%s", text); /* perhaps no report will speak of it */
    }
    fail(m, n,
         (struct member_failure){.is_node = true,
                                 .node = n->id,
                                 .outcome = {.kind = OUTCOME_UNKNOWN},
                                 .cause = CAUSE_NODE_LOST,
                                 .blame = blame,
                                 .node_name = mu_strdup(n->name),
                                 .role = mu_strdup(n->role),
                                 .why = mu_strdup(text)},
         text);
}

void member_node_gone(struct member *m, struct member_node *n, const char *why,
                      enum cause_blame blame)
{
    bool had_part = member_node_is_placed(n) && n->state != MEMBER_NODE_STOPPED;
    n->state = MEMBER_NODE_GONE;
    member_index_take(&m->index, n);
    m->live_count--;
    m->away_count -= n->is_away;
    n->is_away = false;
    m->forgettable += !member_node_is_placed(n) && n->previous_rank == RANK_NONE;
    m->stuck_count -= n->is_stuck;
    m->busy_count -= n->busy_round != 0 && !n->is_stuck;
    n->busy_round = 0;
    n->is_stuck = false;
    member_note_gone(m, n->name);
    member_effect_add(m, MEMBER_DROP)->node = n->id;
    switch (m->state) {
    case MEMBER_FORMING:
        member_record(m, MU_LOG_NOTICE, EVENT_LEFT, n, "%s (%s) left while the job was forming: %s",
                      n->name, n->address, why);
        member_form_try(m);
        break;
    case MEMBER_RUNNING:
    case MEMBER_STOPPING:
        if (had_part && m->stop_signo == 0) {
            restart_note_loss(&m->history, &m->policy, n->name, m->round, m->now_ms);
            member_node_failed(m, n, why, blame);
        } else {
            bool is_spare = !member_node_is_placed(n);
            member_record(m, is_spare ? MU_LOG_NOTICE : MU_LOG_INFO, EVENT_LEFT, n,
                          "%s (%s)%s left: %s", n->name, n->address,
                          is_spare ? ", which stood by," : "", why);
        }
        member_round_check(m);
        member_grow_check(m);
        break;
    case MEMBER_ENDED:
        break;
    }
}
