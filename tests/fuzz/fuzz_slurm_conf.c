/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any text as a slurm.conf: a number of seconds that Slurm could mean, an address that is a name.
 */
#include "launcher/slurm_conf.h"

#include "muster/mem.h"
#include "tests/fuzz/fuzz_target.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mu_autofree char *text = mu_alloc(size + 1);
    memcpy(text, data, size);
    struct slurm_conf conf;
    slurm_conf_parse((struct mu_slice){.ptr = text, .len = size}, "n1", &conf);
    MU_REQUIRE(conf.kill_wait_ms >= 0 && conf.kill_wait_ms <= 65535 * INT64_C(1000));
    MU_REQUIRE(strlen(conf.node_addr) <= MU_MAX_NAME);
    MU_REQUIRE(strpbrk(conf.node_addr, "[], \t\n") == NULL);
    return 0;
}
