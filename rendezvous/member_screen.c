/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The report of a failure: one screen, of 100 columns and 30 lines at most.
 */
#include "rendezvous/member_impl.h"

#include "muster/limits.h"
#include "muster/lines.h"
#include "muster/mem.h"
#include "muster/num.h"

enum {
    COLUMNS = 97, /* and three dots for what is cut; "muster node1: error: " stands before the first
                     line alone */
    INDENT = 12,
    ROW_LINES = 3, /* of a text that is folded */
    CAUSES_SHOWN = 4,
    INNOCENT_SHOWN = 4,
};

/* Bytes of the character that begins `text`, if it can be shown; 0: it cannot. */
static size_t visible_size(const char *text, size_t len)
{
    unsigned char c = (unsigned char)text[0];
    if (c < 0x80) {
        return (c >= 0x20 && c != 0x7f) || c == '\t' ? 1 : 0;
    }
    size_t size = c < 0xc0 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
    return size <= len ? size : 1;
}

/* At most `columns` characters of a line, without the control bytes that would reach a terminal. */
static void append_visible(const char *text, size_t len, size_t columns, struct mu_buf *out)
{
    size_t shown = 0;
    for (size_t at = 0; at < len;) {
        if (++shown > columns) {
            mu_buf_printf(out, "...");
            break;
        }
        size_t size = visible_size(text + at, len - at);
        mu_buf_append(out, size > 0 ? text + at : "?", size > 0 ? size : 1);
        at += size > 0 ? size : 1;
    }
    mu_buf_append_u8(out, '\n');
}

/* Where a line of at most `columns` bytes is best broken. */
static size_t fold_at(const char *text, size_t columns)
{
    size_t len = strcspn(text, "\r\n");
    if (len <= columns) {
        return len;
    }
    size_t at = columns;
    while (at > columns / 2 && text[at] != ' ') {
        at--;
    }
    if (text[at] == ' ') {
        return at;
    }
    at = columns;
    while (at > columns - 3 && ((unsigned char)text[at] & 0xc0) == 0x80) {
        at--; /* not within a character of UTF-8; what is none is cut anywhere */
    }
    return at;
}

/* "  name      text", folded; what does not fit into ROW_LINES is left out. */
static void append_row(const char *name, const char *text, struct mu_buf *out)
{
    if (text == NULL || text[0] == '\0') {
        return;
    }
    for (int line = 0; line < ROW_LINES && text[0] != '\0'; line++) {
        size_t len = fold_at(text, COLUMNS - INDENT);
        bool is_last = line == ROW_LINES - 1;
        mu_buf_printf(out, "  %-*s", INDENT - 2, line == 0 ? name : "");
        append_visible(text, is_last ? strlen(text) : len, COLUMNS - INDENT, out);
        text += len;
        text += strspn(text, " \r\n");
    }
}

/* The same of a path, whole: it is for copying. */
static void append_path(const char *name, const char *path, struct mu_buf *out)
{
    if (path != NULL && path[0] != '\0') {
        mu_buf_printf(out, "  %-*s", INDENT - 2, name);
        append_visible(path, strlen(path), SIZE_MAX, out);
    }
}

/* "           ^^^^^^^^": below a line of source in a traceback, where there is room for so few. */
static bool is_underline(struct mu_slice line)
{
    size_t at = 0;
    if (lines_starts_with(line, "[rank")) {
        while (at < line.len && line.ptr[at] != ' ') {
            at++;
        }
    }
    size_t blanks = at;
    while (at < line.len && line.ptr[at] == ' ') {
        at++;
    }
    size_t marks = at;
    while (at < line.len && (line.ptr[at] == '^' || line.ptr[at] == '~')) {
        at++;
    }
    return blanks < marks && marks < at && at == line.len;
}

/* The next line that is shown: not an empty one, nor one that points at what is above it. */
static bool next_shown(struct mu_slice *rest, struct mu_slice *ret_line)
{
    while (lines_next(rest, ret_line)) {
        if (ret_line->len > 0 && !is_underline(*ret_line)) {
            return true;
        }
    }
    return false;
}

/* The last lines. */
static void append_lines(const char *text, struct mu_buf *out)
{
    struct mu_slice rest = mu_slice_of(text);
    struct mu_slice line;
    size_t count = 0;
    while (next_shown(&rest, &line)) {
        count++;
    }
    rest = mu_slice_of(text);
    while (next_shown(&rest, &line)) {
        if (count-- > MU_REPORT_TAIL_LINES) {
            continue;
        }
        mu_buf_printf(out, "    | ");
        append_visible(line.ptr, line.len, COLUMNS - 6, out);
    }
}

static void append_round(const struct member *m, struct mu_buf *out)
{
    const struct member_failure *f = &m->failure;
    mu_buf_printf(out, "  round     %u, after %u of %u restarts", m->round,
                  restart_used(&m->history, &m->policy, m->now_ms), m->policy.max_restarts);
    if (f->role != NULL && strcmp(f->role, "default") != 0) {
        mu_buf_printf(out, "; role %s", f->role);
    }
    char when[MU_TIME_SIZE];
    if (mu_time_format(f->unix_ms, when)) {
        mu_buf_printf(out, "; %s", when);
    }
    mu_buf_printf(out, "\n");
}

/* ": connection to a peer lost (20), exception (2)", the most frequent first. */
static void append_causes(const struct member_failure *f, struct mu_buf *out)
{
    uint32_t counts[CAUSE_KIND_COUNT];
    memcpy(counts, f->collateral_by, sizeof(counts));
    uint32_t rest = f->collateral;
    for (int shown = 0; rest > 0 && shown < CAUSES_SHOWN; shown++) {
        int most = 0;
        for (int k = 1; k < CAUSE_KIND_COUNT; k++) {
            most = counts[k] > counts[most] ? k : most;
        }
        mu_buf_printf(out, "%s%s (%u)", shown == 0 ? ": " : ", ",
                      cause_kind_phrase((enum cause_kind)most), counts[most]);
        rest -= counts[most];
        counts[most] = 0;
    }
    if (rest > 0) {
        mu_buf_printf(out, ", other (%u)", rest);
    }
}

static void append_collateral(const struct member_failure *f, struct mu_buf *out)
{
    struct mu_buf text = {0};
    if (f->collateral > 0) {
        mu_buf_printf(&text, "%u more failure%s", f->collateral, f->collateral == 1 ? "" : "s");
        if (f->collateral_own == 0) {
            mu_buf_printf(&text, ", as a consequence of it");
        } else if (f->collateral_own < f->collateral) {
            mu_buf_printf(&text, ", %u of them as a consequence of it",
                          f->collateral - f->collateral_own);
        }
        append_causes(f, &text);
    }
    if (f->stopped > 0) {
        mu_buf_printf(&text, "%s%u %s stopped", f->collateral > 0 ? "; " : "", f->stopped,
                      f->stopped == 1 ? "was" : "were");
    }
    mu_autofree char *then = mu_buf_take_text(&text);
    append_row("then", then, out);
}

/*
 * No failure was of its own doing: peers ran into a timeout, say. Then somebody hung, or is gone in
 * a way that nobody saw: those who had no error of their own are the ones to look at.
 */
static void append_suspects(const struct member *m, struct mu_buf *out)
{
    const struct member_failure *f = &m->failure;
    if (f->blame != CAUSE_COLLATERAL || f->is_node) {
        return;
    }
    struct mu_buf text = {0};
    mu_buf_printf(&text,
                  "others cause this, but no other worker is known to have failed by itself");
    const char *before = "; without an error of their own: ";
    for (uint32_t i = 0; f->stopped > 0 && f->stopped <= INNOCENT_SHOWN && i < m->node_count; i++) {
        const struct member_node *n = m->nodes[i];
        for (uint32_t w = 0; member_node_is_placed(n) && w < n->slots; w++) {
            if (n->workers[w].was_stopped) {
                mu_buf_printf(&text, "%srank %u on %s", before, n->first_rank + w, n->name);
                before = ", ";
            }
        }
    }
    mu_autofree char *note = mu_buf_take_text(&text);
    append_row("note", note, out);
}

static void append_words(const struct member_failure *f, struct mu_buf *out)
{
    if (f->quote != NULL && f->quote[0] != '\0') {
        mu_buf_printf(out, "  its own words:\n");
        append_lines(f->quote, out);
    } else if (f->tail != NULL && f->tail[0] != '\0') {
        mu_buf_printf(out, "  last lines of its stderr:\n");
        append_lines(f->tail, out);
    } else if (!f->is_node && f->outcome.kind != OUTCOME_EXEC_FAILED) {
        mu_buf_printf(out, "  it wrote nothing to stderr\n");
    }
}

char *member_text_report(const struct member *m)
{
    const struct member_failure *f = &m->failure;
    if (m->exit_status == 0 || m->stop_signo != 0 || !f->is_set) {
        return NULL;
    }
    struct mu_buf b = {0};
    char *failure = member_text_failure(m);
    mu_buf_printf(&b, "job '%s' failed: %s\n", m->run_id, failure);
    free(failure);
    append_row("cause", f->sentence, &b);
    append_row("hint", f->hint, &b);
    append_suspects(m, &b);
    append_round(m, &b);
    if (m->no_restart_why != NULL) {
        mu_autofree char *none = mu_asprintf("none: %s", m->no_restart_why);
        append_row("restart", none, &b);
    }
    if (m->state == MEMBER_FORMING) {
        mu_buf_printf(&b, "  waited    %.1f s for a replacement: none joined\n",
                      (double)m->join_timeout_ms / 1e3);
    }
    append_collateral(f, &b);
    append_path("error", f->error_file, &b);
    append_path("log", f->log_file, &b);
    append_words(f, &b);
    mu_buf_printf(&b, "  every worker of the job was stopped; exit status %d", m->exit_status);
    return mu_buf_take_text(&b);
}
