/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What programs and the kernel tell a node of itself: an interpreter's answer, that of nvcc, the
 * kernel's log. The first byte says which; what becomes of it is bounded and can be sent.
 */
#include "launcher/check_fact.h"
#include "launcher/check_fact_xid.h"
#include "muster/lines.h"
#include "muster/mem.h"
#include "tests/fuzz/fuzz_target.h"

#include <stdlib.h>
#include <string.h>

static void read_python(struct mu_slice answer)
{
    char *origin = NULL;
    json_t *fact = check_fact_python(answer, &origin);
    MU_REQUIRE(fact == NULL || json_is_string(json_object_get(fact, "version")));
    MU_REQUIRE(origin == NULL || (fact != NULL && origin[0] == '/'));
    MU_REQUIRE(json_dumpb(fact, NULL, 0, JSON_COMPACT) <= CHECK_FACTS_MAX);
    json_decref(fact);
    free(origin);
}

static void read_nvcc(struct mu_slice answer)
{
    mu_autofree char *release = check_fact_nvcc(answer);
    MU_REQUIRE(release == NULL || strspn(release, "0123456789.") == strlen(release));
}

static void read_log(struct mu_slice rest)
{
    struct gpu_list gpus = {0};
    struct gpu *gpu = gpu_list_add(&gpus);
    snprintf(gpu->pci, sizeof(gpu->pci), "0000:1b:00.0");
    json_t *xids = json_array();
    struct mu_slice line;
    while (lines_next(&rest, &line)) {
        mu_autofree char *record = mu_slice_dup(line);
        check_fact_xid_read(record, 100000, &gpus, xids);
    }
    char *text = json_dumps(xids, JSON_COMPACT);
    MU_REQUIRE(text != NULL && strlen(text) < 4096);
    free(text);
    json_decref(xids);
    gpu_list_fini(&gpus);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) {
        return 0;
    }
    struct mu_slice rest = {.ptr = (const char *)data + 1, .len = size - 1};
    if (data[0] % 3 == 0) {
        read_python(rest);
    } else if (data[0] % 3 == 1) {
        read_nvcc(rest);
    } else {
        read_log(rest);
    }
    return 0;
}
