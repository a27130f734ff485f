/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whatever the nodes of a check write for each other: it is refused, or becomes findings of bounded
 * text. The first byte is the number of nodes; what follows are their notes, a line each: that of
 * the node itself, then that of its connections.
 */
#include "launcher/check_notes.h"
#include "muster/lines.h"
#include "muster/mem.h"
#include "tests/fuzz/fuzz_target.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_NODES = 24, LONGEST = 4096 };

/* What was understood is written as it was, and understood again. */
static void write_again(struct check_links *l, size_t node)
{
    struct mu_err err = MU_ERR_INIT;
    mu_autofree char *text = check_notes_encode_links(l, node);
    MU_REQUIRE(check_notes_decode_links(mu_slice_of(text), l, node, &err) == 0);
    mu_autofree char *again = check_notes_encode_links(l, node);
    MU_REQUIRE(strcmp(text, again) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) {
        return 0;
    }
    size_t count = data[0] % MAX_NODES + 1;
    struct mu_slice rest = {.ptr = (const char *)data + 1, .len = size - 1};
    struct check_note *notes = mu_calloc(count, sizeof(*notes));
    struct check_links l;
    check_links_init(&l, count);
    l.door = "10.0.0.1:29500";
    for (size_t i = 0; i < count; i++) {
        struct mu_slice line = {.ptr = "", .len = 0};
        struct mu_err err = MU_ERR_INIT;
        snprintf(notes[i].name, sizeof(notes[i].name), "node%zu", i);
        lines_next(&rest, &line);
        if (check_note_decode(line, &notes[i], &err) == 0) {
            MU_REQUIRE(notes[i].port > 0 && notes[i].door_port > 0);
        }
        l.nodes[i].name = notes[i].name;
        l.nodes[i].address = notes[i].address;
        line.len = 0;
        lines_next(&rest, &line);
        if (check_notes_decode_links(line, &l, i, &err) == 0) {
            write_again(&l, i);
        }
    }
    struct check_findings findings = {0};
    check_reach_judge(&l, &findings);
    check_pace_judge(&l, &findings);
    for (size_t i = 0; i < findings.count; i++) {
        MU_REQUIRE(strlen(findings.items[i].found) < LONGEST);
    }
    check_findings_fini(&findings);
    check_links_fini(&l);
    free(notes);
    return 0;
}
