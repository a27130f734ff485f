/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where check_facts_collect() has each part from: check_fact_<name>.c. Objects are owned by the
 * caller; what could not be found out is not in them. All block, and those that say so may hang.
 * Threading: any.
 */
#pragma once

#include "launcher/check_facts.h"
#include "muster/buf.h"

enum {
    CHECK_FACT_MAX_GPUS = 32,  /* told of one by one; machines with more are rare */
    CHECK_FACT_MAX_LINKS = 32, /* the same of network interfaces, and of RDMA ports */
};

/* A text as it may be sent: cut short and made printable. */
json_t *check_fact_text(const char *text);

/* object[key] = the text, if it is not NULL. */
void check_fact_put_text(json_t *object, const char *key, const char *text);
void check_fact_put_int(json_t *object, const char *key, int64_t value);
void check_fact_put_flag(json_t *object, const char *key, bool value);

/*
 * Kernel, CPUs, memory, resource limits: put into `facts`. Limits are those that workers get with
 * `limit`, which is --limit or NULL.
 */
void check_fact_machine(const struct host_view *host, const char *limit, json_t *facts);

/* Network interfaces and RDMA ports: put into `facts`, as "nics" and "rdma". */
void check_fact_links(const struct host_view *host, json_t *facts);

/* The GPUs that the workers will see, as their driver tells it. May hang. NULL: there are none. */
json_t *check_fact_gpus(const struct host_view *host);

/* Does this machine's own name lead anywhere? May hang. */
json_t *check_fact_name(const char *name);

/* /dev/shm, the temporary directory and the log directory. May hang. */
json_t *check_fact_places(const struct host_view *host, const struct check_spec *spec);

/* The file that the workers run, and those beside it. May hang. */
json_t *check_fact_script(const char *path);

/* The arguments that make a Python interpreter tell of itself, and of a module if not NULL. */
void check_fact_python_argv(const char *interpreter, const char *module, const char *argv[5]);

/*
 * What it answered, as facts. *ret_origin is the file of the module, owned by the caller, or NULL.
 * NULL if that is no such answer.
 */
json_t *check_fact_python(struct mu_slice answer, char **ret_origin);

/* The release in the output of `nvcc --version`, "12.8"; owned by the caller, or NULL. */
char *check_fact_nvcc(struct mu_slice answer);
