/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any answer of muster-mpi: it is read within its limits, or refused with a sentence.
 */
#include "launcher/mpi_exchange.h"

#include "muster/mem.h"
#include "tests/fuzz/fuzz_target.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mpi_exchange x;
    struct mu_err err = MU_ERR_INIT;
    struct mu_slice text = {.ptr = (const char *)data, .len = size};
    if (mpi_exchange_parse(text, &x, &err) != 0) {
        MU_REQUIRE(err.code == MU_E_PROTOCOL && err.text[0] != '\0');
        return 0;
    }
    MU_REQUIRE(x.rank < x.size && x.size <= MU_MAX_NODES && x.hosts.count == x.size);
    MU_REQUIRE(x.address_count >= 1 && x.address_count <= MPI_EXCHANGE_ADDRESSES);
    for (size_t i = 0; i < x.hosts.count; i++) {
        size_t len = strlen(x.hosts.names[i]);
        MU_REQUIRE(len >= 1 && len <= MU_MAX_NAME);
    }
    mpi_exchange_fini(&x);
    return 0;
}
