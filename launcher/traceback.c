/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/traceback.h"

#include "muster/lines.h"

#include <ctype.h>
#include <string.h>

enum {
    MESSAGE_LINES = 40, /* of a message that are taken for its own */
    NOISE_LINES = 30,   /* of others amid the frames */
};

/* What the line before "Traceback" makes of it. */
enum fate { FATE_MAIN, FATE_THREAD, FATE_IGNORED };

enum step {
    STEP_IDLE,
    STEP_FRAMES,  /* within a traceback, before its last line */
    STEP_MESSAGE, /* what follows may still be the message */
    STEP_GROUP,   /* the tree of an exception group */
};

struct search {
    enum step step;
    enum fate fate;      /* of this traceback */
    bool is_group;       /* its lines have "  | " before them */
    bool is_ranked;      /* its lines have "[rank3]: " before them */
    bool has_first;      /* its first frame was there */
    bool is_within;      /* it is part of the message of the one before: no word on who caught it */
    bool is_next_within; /* the next one will be */
    bool has_leaf;       /* the first exception of the group was there */
    bool was_frame;      /* the line before was one */
    unsigned left;       /* lines until the step is given up */
    struct mu_slice begin; /* its first line */
    struct traceback now;

    enum fate next_fate; /* of a traceback that begins within `next_left` lines */
    unsigned next_left;
    struct mu_slice next_begin;
    struct mu_slice next_thread;

    bool is_chained; /* the next one belongs to this one's chain ... */
    bool is_direct;  /* ... and was raised from it */

    struct mu_slice file; /* the last `File "..."` line outside of a traceback */
    unsigned file_left;   /* lines for which it counts */

    struct traceback *ret_main;
    struct traceback *ret_thread;
    unsigned found;
};

static const char header[] = "Traceback (most recent call last):";
static const char boxed[] = "Traceback (most recent call last)"; /* by rich, in a frame */
static const char context[] = "During handling of the above exception";
static const char direct[] = "The above exception was the direct cause";

static struct mu_slice drop(struct mu_slice s, size_t n)
{
    return (struct mu_slice){.ptr = s.ptr + n, .len = s.len - n};
}

/* "[rank3]: " off the line. */
static struct mu_slice drop_rank(struct mu_slice line, bool *ret_is_ranked)
{
    *ret_is_ranked = false;
    if (!lines_starts_with(line, "[rank")) {
        return line;
    }
    size_t at = 5;
    while (at < line.len && isdigit((unsigned char)line.ptr[at])) {
        at++;
    }
    if (at == 5 || line.len < at + 2 || memcmp(line.ptr + at, "]:", 2) != 0) {
        return line;
    }
    at += 2;
    if (at < line.len && line.ptr[at] != ' ') {
        return line; /* "[rank3]:[W1124 ...": a log of C++ */
    }
    *ret_is_ranked = true;
    return drop(line, at < line.len ? at + 1 : at);
}

/* "  | " or "  + " off a line of an exception group. */
static struct mu_slice drop_margin(struct mu_slice line)
{
    size_t at = 0;
    while (at < line.len && line.ptr[at] == ' ') {
        at++;
    }
    if (at < line.len && (line.ptr[at] == '|' || line.ptr[at] == '+')) {
        at++;
        return drop(line, at < line.len && line.ptr[at] == ' ' ? at + 1 : at);
    }
    return line;
}

/* How many bytes of a dotted name a line begins with: "main.<locals>.Boom" is one. */
static size_t name_size(struct mu_slice line)
{
    size_t at = 0;
    bool is_first = true;
    while (at < line.len) {
        unsigned char c = (unsigned char)line.ptr[at];
        bool is_letter = isalpha(c) || c == '_' || c == '<' || c == '>' || c >= 0x80;
        if (is_letter || (!is_first && isdigit(c))) {
            is_first = false;
        } else if (c == '.' && !is_first) {
            is_first = true;
        } else {
            break;
        }
        at++;
    }
    return is_first ? 0 : at;
}

static bool ends_like_an_exception(struct mu_slice name)
{
    static const char *const ends[] = {"Error", "Exception", "Interrupt", "Exit",
                                       "Group", "Warning",   "Timeout"};
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        size_t len = strlen(ends[i]);
        if (name.len >= len && memcmp(name.ptr + name.len - len, ends[i], len) == 0) {
            return true;
        }
    }
    return false;
}

/* "ValueError: bad", "KeyboardInterrupt"; right after a frame any name will do. */
static bool is_error_line(struct mu_slice line, bool is_after_frame)
{
    size_t len = name_size(line);
    if (len == 0 || (len < line.len && line.ptr[len] != ':')) {
        return false;
    }
    return is_after_frame || ends_like_an_exception((struct mu_slice){.ptr = line.ptr, .len = len});
}

static bool is_syntax_error(struct mu_slice line)
{
    return lines_starts_with(line, "SyntaxError:") ||
           lines_starts_with(line, "IndentationError:") || lines_starts_with(line, "TabError:");
}

static bool is_blank(struct mu_slice line)
{
    for (size_t i = 0; i < line.len; i++) {
        if (line.ptr[i] != ' ' && line.ptr[i] != '\t') {
            return false;
        }
    }
    return true;
}

static struct mu_slice trim(struct mu_slice s)
{
    while (s.len > 0 && s.ptr[0] == ' ') {
        s = drop(s, 1);
    }
    return s;
}

/* Lines that speak of the next traceback. */
static void note_fate(struct search *s, struct mu_slice raw, struct mu_slice line)
{
    static const char thread[] = "Exception in thread ";
    static const char *const ignored[] = {"Exception ignored in", "--- Logging error ---",
                                          "Task exception was never retrieved",
                                          "Error in sys.excepthook"};
    s->next_left -= s->next_left > 0;
    if (lines_starts_with(line, thread)) {
        s->next_fate = FATE_THREAD;
        s->next_left = 1;
        s->next_begin = raw;
        s->next_thread = drop(line, sizeof(thread) - 1);
        if (s->next_thread.len > 0 && s->next_thread.ptr[s->next_thread.len - 1] == ':') {
            s->next_thread.len--;
        }
    }
    for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++) {
        if (lines_starts_with(line, ignored[i])) {
            s->next_fate = FATE_IGNORED;
            s->next_left = 2;
            s->next_begin = raw;
        }
    }
}

static void keep(struct search *s)
{
    if (s->fate == FATE_MAIN) {
        *s->ret_main = s->now;
        s->found |= TRACEBACK_MAIN;
    } else if (s->fate == FATE_THREAD) {
        *s->ret_thread = s->now;
        s->found |= TRACEBACK_THREAD;
    }
}

static void begin(struct search *s, struct mu_slice raw, struct mu_slice line, bool is_ranked)
{
    struct traceback next = {0};
    s->is_within = s->is_next_within || lines_find(line, "Original Traceback (") != NULL;
    next.is_caught = s->is_within && s->now.is_caught;
    s->is_next_within = false;
    s->has_first = false;
    s->begin = raw;
    if (s->is_chained) {
        next.origin = s->now.error;
        next.is_raised_from = s->is_direct;
        next.thread = s->now.thread;
    } else if (s->next_left > 0) {
        s->fate = s->next_fate;
        s->begin = s->next_begin;
        next.thread = s->fate == FATE_THREAD ? s->next_thread : next.thread;
    } else {
        s->fate = FATE_MAIN;
    }
    s->now = next;
    s->next_left = 0;
    s->is_chained = false;
    s->is_ranked = is_ranked;
    s->is_group = lines_find(line, "Exception Group") != NULL;
    s->step = STEP_FRAMES;
    s->has_leaf = false;
    s->was_frame = false;
    s->left = NOISE_LINES;
}

/* The traceback is there as far as this line. */
static void extend(struct search *s, struct mu_slice raw)
{
    s->now.quote = lines_span(s->begin, raw);
    s->now.text = lines_span(s->now.error, raw);
    keep(s);
}

/* It has its last line. */
static void has_error(struct search *s, struct mu_slice raw, struct mu_slice line)
{
    s->now.error = line;
    extend(s, raw);
    s->step = s->is_group ? STEP_GROUP : STEP_MESSAGE;
    s->now.is_group = s->is_group;
    s->left = MESSAGE_LINES;
}

/* The script itself cannot be read: there is no traceback at all. */
static bool is_bare_syntax_error(struct search *s, struct mu_slice line)
{
    if (lines_starts_with(line, "  File \"")) {
        s->file = line;
        s->file_left = 5;
        return false;
    }
    s->file_left -= s->file_left > 0;
    return s->file_left > 0 && is_syntax_error(line);
}

static void on_idle(struct search *s, struct mu_slice raw, struct mu_slice line)
{
    bool is_direct = lines_starts_with(line, direct);
    if (is_direct || lines_starts_with(line, context)) {
        s->is_chained = s->now.error.ptr != NULL;
        s->is_direct = is_direct;
    } else if (is_bare_syntax_error(s, line)) {
        s->fate = FATE_MAIN;
        s->is_group = false;
        s->begin = s->file;
        s->now = (struct traceback){.where = trim(s->file)};
        has_error(s, raw, line);
    } else if (!is_blank(line)) {
        s->is_chained = false;
        s->is_next_within = lines_starts_with(line, "-- Process "); /* of torch's spawn() */
        note_fate(s, raw, line);
    }
}

/*
 * An uncaught exception has gone all the way up, to a module that runs as a program. Torch shows
 * only those with its "[rank3]: ".
 */
static void note_frame(struct search *s, struct mu_slice frame)
{
    static const char top[] = ", in <module>";
    size_t len = sizeof(top) - 1;
    bool is_top = lines_find(frame, ", in _run_module_as_main") != NULL ||
                  (frame.len >= len && memcmp(frame.ptr + frame.len - len, top, len) == 0);
    if (!s->has_first && !s->is_within) {
        s->now.is_caught = !is_top && !s->is_ranked;
    }
    s->has_first = true;
    s->now.where = frame;
}

static void on_frames(struct search *s, struct mu_slice raw, struct mu_slice line)
{
    /* Frames are indented, or in a box drawn with characters of U+25xx. */
    if (line.len > 0 && (line.ptr[0] == ' ' || line.ptr[0] == '\xe2')) {
        struct mu_slice text = trim(line);
        if (lines_starts_with(text, "File \"")) {
            note_frame(s, text);
        }
        s->was_frame = true;
    } else if (is_error_line(line, s->was_frame)) {
        has_error(s, raw, line);
    } else {
        s->was_frame = false;
        s->step = s->left-- == 0 ? STEP_IDLE : s->step;
    }
}

static void on_message(struct search *s, struct mu_slice raw, struct mu_slice line, bool is_ranked)
{
    bool is_foreign = s->is_ranked != is_ranked || lines_starts_with(line, "[") ||
                      lines_starts_with(line, "Exception raised from ") ||
                      lines_starts_with(line, "Fatal Python error");
    if (is_blank(line) || is_foreign || s->left-- == 0) {
        s->step = STEP_IDLE;
        on_idle(s, raw, line);
    } else {
        extend(s, raw);
    }
}

/* The tree below the group's own line: its first leaf is worth a word. */
static void on_group(struct search *s, struct mu_slice raw, struct mu_slice line)
{
    if (line.len == 0 || line.ptr[0] != ' ') {
        s->step = STEP_IDLE;
        on_idle(s, raw, line);
        return;
    }
    struct mu_slice leaf = drop_margin(line);
    if (!s->has_leaf && is_error_line(leaf, false)) {
        s->now.origin = leaf;
        s->has_leaf = true;
    }
    extend(s, raw);
}

static void read_line(struct search *s, struct mu_slice raw)
{
    bool is_ranked = false;
    struct mu_slice line = drop_rank(raw, &is_ranked);
    struct mu_slice bare = trim(drop_margin(line));
    bool is_header = lines_starts_with(bare, header) ||
                     lines_starts_with(bare, "Original Traceback (") ||
                     lines_starts_with(bare, "Exception Group Traceback (") ||
                     (lines_starts_with(bare, "\xe2\x95\xad") && lines_find(bare, boxed) != NULL);
    bool is_leaf = s->step == STEP_GROUP && line.len > 0 && line.ptr[0] == ' ';
    if (is_header && !is_leaf) {
        begin(s, raw, line, is_ranked);
        return;
    }
    switch (s->step) {
    case STEP_IDLE:
        on_idle(s, raw, line);
        break;
    case STEP_FRAMES:
        if (s->is_ranked == is_ranked) {
            on_frames(s, raw, s->is_group ? drop_margin(line) : line);
        }
        break;
    case STEP_MESSAGE:
        on_message(s, raw, line, is_ranked);
        break;
    case STEP_GROUP:
        on_group(s, raw, line);
        break;
    }
}

unsigned traceback_find(struct mu_slice text, struct traceback *ret_main,
                        struct traceback *ret_thread)
{
    struct search s = {.ret_main = ret_main, .ret_thread = ret_thread};
    struct mu_slice line;
    while (lines_next(&text, &line)) {
        read_line(&s, line);
    }
    return s.found;
}
