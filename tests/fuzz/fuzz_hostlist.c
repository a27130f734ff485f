/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any text as a list of hosts: names within the limits, each of which is a list of itself alone, or
 * a sentence.
 */
#include "launcher/hostlist.h"

#include "muster/limits.h"
#include "muster/mem.h"
#include "tests/fuzz/fuzz_target.h"

#include <string.h>

static void check(const struct hostlist *list)
{
    MU_REQUIRE(list->count <= MU_MAX_NODES);
    for (size_t i = 0; i < list->count; i++) {
        size_t len = strlen(list->names[i]);
        MU_REQUIRE(len >= 1 && len <= MU_MAX_NAME);
        MU_REQUIRE(strpbrk(list->names[i], "[], \t\n") == NULL);
    }
    if (list->count > 0) {
        const char *last = list->names[list->count - 1];
        long place = hostlist_find(list, last);
        MU_REQUIRE(place >= 0 && strcmp(list->names[place], last) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mu_autofree char *text = mu_alloc(size + 1);
    memcpy(text, data, size);
    struct hostlist list = {0};
    struct mu_err err = MU_ERR_INIT;
    int rc = hostlist_parse(text, &list, &err);
    MU_REQUIRE((rc == 0) == (err.code == MU_E_NONE));
    if (rc == 0) {
        check(&list);
    } else {
        MU_REQUIRE(err.code == MU_E_USAGE && err.text[0] != '\0' && list.count == 0);
    }
    hostlist_fini(&list);
    return 0;
}
