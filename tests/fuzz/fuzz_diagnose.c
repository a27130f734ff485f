/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any end of a worker, with any bytes on its stderr and in its error file: the sentence and the
 * hint are one line each without control bytes, the quote lies in what it was taken from, and kind
 * and blame are such as the control protocol knows.
 */
#include "launcher/diagnose.h"
#include "muster/lines.h"
#include "muster/mem.h"
#include "tests/fuzz/fuzz_target.h"

#include <string.h>

static void check_line(const char *text, size_t size)
{
    MU_REQUIRE(memchr(text, '\0', size) != NULL);
    for (const char *c = text; *c != '\0'; c++) {
        MU_REQUIRE((unsigned char)*c >= 0x20 && *c != 0x7f);
    }
}

static bool lies_in(struct mu_slice part, const char *text, size_t len)
{
    return text != NULL && part.ptr >= text && part.ptr + part.len <= text + len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mu_reader r = mu_reader_of(data, size);
    uint8_t how = mu_read_u8(&r);
    uint8_t code = mu_read_u8(&r);
    uint8_t flags = mu_read_u8(&r);
    struct mu_slice error_text = mu_read_bytes(&r, (size_t)mu_read_u8(&r) * 4);
    if (r.failed) {
        error_text = (struct mu_slice){0};
    }
    size_t left = r.failed ? 0 : mu_reader_left(&r);
    mu_autofree char *tail = mu_alloc(left + 1); /* reading past the end is seen */
    memcpy(tail, (const char *)data + (size - left), left);
    if ((how & 0x40U) != 0) {
        left = lines_strip_escapes(tail, left);
        MU_REQUIRE(left == 0 || memchr(tail, '\033', left) == NULL);
    }

    struct error_file file = {0};
    bool has_file = error_text.len > 0 && error_file_parse(error_text.ptr, error_text.len, &file);
    struct diagnose_facts f = {
        .outcome = {.kind = (enum outcome_kind)(1 + how % 4),
                    .stage = (enum outcome_stage)(how >> 2 & 3U),
                    .code = code,
                    .core_dumped = (how & 0x80U) != 0},
        .stop = {.signo = (flags & 1U) != 0 ? 15 : 0,
                 .is_killed = (flags & 2U) != 0,
                 .had_failed = (flags & 4U) != 0},
        .tail = {.ptr = tail, .len = left},
        .tail_before_stop = (size_t)code * 16,
        .error_file = has_file ? &file : NULL,
        .exec_why = (flags & 8U) != 0 ? "it\nis not there" : NULL,
        .oom = (enum diagnose_oom)((flags >> 4 & 3U) % 3),
        .cgroup = (flags & 0x40U) != 0 ? "/a" : NULL,
        .memory_limit = code,
        .core = (flags & 0x80U) != 0 ? "core" : NULL,
        .shm_percent = code,
        .interpreter = (flags & 1U) != 0 ? "python3" : NULL,
    };
    struct diagnosis d = diagnose(&f);
    check_line(d.sentence, sizeof(d.sentence));
    check_line(d.hint, sizeof(d.hint));
    MU_REQUIRE((unsigned)d.kind < CAUSE_KIND_COUNT && (unsigned)d.blame <= CAUSE_BLAME_LAST);
    MU_REQUIRE(d.quote.len <= MU_REPORT_TAIL);
    MU_REQUIRE(d.quote.len == 0 || lies_in(d.quote, tail, left) ||
               (has_file && file.callstack != NULL &&
                lies_in(d.quote, file.callstack, strlen(file.callstack))));
    if (has_file) {
        free(error_file_pass_on(&file, d.sentence, code, f.outcome));
        error_file_fini(&file);
    }
    return 0;
}
