/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Facts of other nodes, which may be anything: one JSON text a line. Whatever they are, what is
 * found can be shown and is JSON; and nothing is said twice of a node by check_compare() that
 * check_local() has said.
 */
#include "launcher/check_findings.h"

#include "muster/lines.h"
#include "muster/mem.h"
#include "tests/fuzz/fuzz_target.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_NODES = 8 };

static size_t read_facts(struct mu_slice rest, json_t *facts[MAX_NODES])
{
    size_t count = 0;
    struct mu_slice line;
    while (count < MAX_NODES && lines_next(&rest, &line)) {
        facts[count++] = json_loadb(line.ptr, line.len, JSON_DECODE_ANY, NULL);
    }
    return count;
}

static void check_texts(const struct check_finding *f)
{
    const char *const texts[] = {f->what, f->found, f->expected, f->fix,
                                 f->node != NULL ? f->node : "x"};
    for (size_t i = 0; i < MU_COUNT(texts); i++) {
        for (const char *c = texts[i]; *c != '\0'; c++) {
            MU_REQUIRE((unsigned char)*c >= ' ' && *c != 0x7f);
        }
    }
}

static bool is_twin(const struct check_finding *a, const struct check_finding *b)
{
    return a->node != NULL && b->node != NULL && strcmp(a->node, b->node) == 0 &&
           strcmp(a->what, b->what) == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *facts[MAX_NODES];
    size_t nodes = read_facts((struct mu_slice){.ptr = (const char *)data, .len = size}, facts);
    struct check_findings list = {0};
    for (size_t i = 0; i < nodes; i++) {
        check_local(facts[i], &list);
    }
    size_t local = list.count;
    check_compare(facts, nodes, &list);
    for (size_t i = 0; i < list.count; i++) {
        check_texts(&list.items[i]);
        for (size_t k = 0; i >= local && k < local; k++) {
            MU_REQUIRE(!is_twin(&list.items[i], &list.items[k]));
        }
    }
    struct mu_buf text = {0};
    check_findings_text(&list, nodes, &text);
    MU_REQUIRE(text.len > 0 && text.data[text.len - 1] == '\n');
    json_t *json = check_findings_json(&list, nodes);
    MU_REQUIRE(json_is_array(json_object_get(json, "findings")));
    json_decref(json);
    mu_buf_fini(&text);
    check_findings_fini(&list);
    for (size_t i = 0; i < nodes; i++) {
        json_decref(facts[i]);
    }
    return 0;
}
