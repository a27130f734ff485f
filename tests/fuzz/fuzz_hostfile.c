/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any file of hosts is refused with a sentence that names it, or every host in it is one that may
 * stand on a command line: each once, with slots in range, in the order of the lines.
 */
#include "launcher/hostfile.h"

#include "muster/mem.h"
#include "tests/fuzz/fuzz_target.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hostfile f;
    struct mu_err err = MU_ERR_INIT;
    if (hostfile_parse("f", (const char *)data, size, &f, &err) != 0) {
        MU_REQUIRE(err.code == MU_E_USAGE && strncmp(err.text, "f:", 2) == 0);
        return 0;
    }
    MU_REQUIRE(f.count > 0);
    for (size_t i = 0; i < f.count; i++) {
        const struct hostfile_host *h = &f.hosts[i];
        MU_REQUIRE(h->name[0] != '\0' && h->name[0] != '-' && h->user[0] != '-');
        MU_REQUIRE(strpbrk(h->name, " \t;&|$`'\"\\\n") == NULL);
        MU_REQUIRE(h->slots <= MU_MAX_LOCAL_WORLD);
        for (size_t k = 0; k < i; k++) {
            MU_REQUIRE(strcmp(h->name, f.hosts[k].name) != 0 && f.hosts[k].line < h->line);
        }
    }
    hostfile_fini(&f);
    return 0;
}
