/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What muster would do on another machine: a tree of files, with these CPUs for it to use and one
 * worker for each GPU. Prints how many workers, and where each would be bound.
 *
 *     local_map ROOT CPUS MODE
 */
#include "launcher/local_world.h"

int main(int argc, char **argv)
{
    struct cpu_mask allowed;
    if (argc != 4 || cpu_mask_parse(argv[2], &allowed) != 0) {
        fprintf(stderr, "usage: local_map ROOT CPUS MODE\n");
        return 99;
    }
    struct host_view host = {.root = argv[1], .envp = environ, .allowed = &allowed};
    struct options opts;
    options_init(&opts, OPTIONS_RUN);
    opts.nproc_per_node = OPTIONS_NPROC_GPU;
    opts.numa_binding = argv[3];
    struct local_world world;
    struct mu_err err = MU_ERR_INIT;
    if (local_world_resolve(&opts, &host, &world, &err) != 0) {
        fprintf(stderr, "%s\n", err.text);
        return mu_err_exit_status(&err);
    }
    printf("%lld workers\n", (long long)opts.nproc_per_node);
    if (world.binding != NULL) {
        struct mu_buf map = {0};
        numa_binding_describe(world.binding, &map);
        fwrite(map.data, 1, map.len, stdout);
        mu_buf_fini(&map);
    }
    local_world_fini(&world);
    return 0;
}
