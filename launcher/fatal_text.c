/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/fatal_text.h"

#include "muster/lines.h"

#include <string.h>

enum { DEEP_FRAMES = 90 }; /* the fault handler shows 100 at most */

static const char fatal_python[] = "Fatal Python error: ";
static const char terminate[] = "terminate called ";
static const char what[] = "  what():  ";

/* How lines of the C library and others begin, or what is in them. */
static const char *const begins[] = {
    "malloc(): ",
    "malloc_consolidate(): ",
    "free(): ",
    "realloc(): ",
    "double free or corruption",
    "corrupted size vs. prev_size",
    "corrupted double-linked list",
    "munmap_chunk(): ",
    "*** stack smashing detected ***",
    "*** buffer overflow detected ***",
    "libc++abi: terminating",
};
static const char *const contains[] = {
    "ERROR: AddressSanitizer: ",
    "Assertion `",
};

static bool is_last_word(struct mu_slice line)
{
    for (size_t i = 0; i < sizeof(begins) / sizeof(begins[0]); i++) {
        if (lines_starts_with(line, begins[i])) {
            return true;
        }
    }
    for (size_t i = 0; i < sizeof(contains) / sizeof(contains[0]); i++) {
        if (lines_find(line, contains[i]) != NULL) {
            /* The device's own assertions: the host goes on, and says more of it later. */
            return lines_find(line, "block: [") == NULL;
        }
    }
    return false;
}

/* `  File "x.py", line 3 in f`, without the indentation. */
static bool is_frame(struct mu_slice line, struct mu_slice *ret_frame)
{
    if (!lines_starts_with(line, "  File \"")) {
        return false;
    }
    *ret_frame = (struct mu_slice){.ptr = line.ptr + 2, .len = line.len - 2};
    return true;
}

/* The stack of the thread at fault, after "Current thread 0x... (most recent call first):". */
static void read_stack(struct mu_slice rest, struct fatal_text *f)
{
    struct mu_slice line;
    struct mu_slice frame;
    size_t frames = 0;
    bool is_current = false;
    bool is_cut = false;
    while (lines_next(&rest, &line)) {
        if (lines_starts_with(line, "Current thread ")) {
            is_current = true;
        } else if (is_current && is_frame(line, &frame)) {
            f->where = frames == 0 ? frame : f->where;
            frames++;
        } else if (is_current) {
            is_cut = lines_starts_with(line, "  ...");
            break;
        }
    }
    f->is_stack_overflow = f->is_stack_overflow || (is_cut && frames >= DEEP_FRAMES);
}

bool fatal_text_find(struct mu_slice text, struct fatal_text *ret)
{
    struct fatal_text f = {0};
    struct mu_slice rest = text;
    struct mu_slice line;
    bool is_found = false;
    bool is_open = false; /* its what() may follow */
    while (lines_next(&rest, &line)) {
        bool is_python = lines_starts_with(line, fatal_python);
        bool is_thrown = lines_starts_with(line, terminate);
        if (is_open && lines_starts_with(line, what)) {
            f.what = (struct mu_slice){.ptr = line.ptr + sizeof(what) - 1,
                                       .len = line.len - (sizeof(what) - 1)};
            is_open = false;
            continue;
        }
        if (!is_python && !is_thrown && !is_last_word(line)) {
            continue;
        }
        /* Python's handler speaks after the C library, of the same death: the first says more. */
        bool is_same = is_found && is_python && lines_find(line, "Aborted") != NULL;
        struct mu_slice to_end = {.ptr = line.ptr, .len = (size_t)(text.ptr + text.len - line.ptr)};
        if (!is_same) {
            f = (struct fatal_text){.what = line, .quote = to_end};
        }
        if (is_python) {
            f.is_stack_overflow = lines_find(line, "tack overflow") != NULL;
            read_stack(to_end, &f);
        }
        is_open = is_thrown;
        is_found = true;
    }
    if (is_found) {
        *ret = f;
    }
    return is_found;
}
