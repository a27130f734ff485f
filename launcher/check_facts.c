/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/check_facts.h"

#include "launcher/check_child.h"
#include "launcher/check_fact.h"
#include "launcher/find_program.h"
#include "muster/clock.h"
#include "muster/lines.h"
#include "muster/mem.h"
#include "muster/version.h"

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

/* Milliseconds. None may take so long, but what is slow need not be broken. */
enum {
    NAME_MS = 10 * 1000,   /* two servers that do not answer, at the resolver's 5 s */
    FILES_MS = 10 * 1000,  /* a network file system that is busy */
    PYTHON_MS = 15 * 1000, /* a virtual environment on one, cold */
    NVCC_MS = 10 * 1000,
    GPUS_MS = 18 * 1000, /* eight GPUs without persistence wake up */
    MARGIN_MS = 1000,    /* of a child that waits for a child of its own */
};

enum { MAX_REQUIRED = 64, MAX_REASON = 200 };

/* What each child is told. */
struct question {
    const struct host_view *host;
    const struct check_spec *spec;
};

static void put_json(json_t *fact, struct mu_buf *out)
{
    char *text = fact != NULL ? json_dumps(fact, JSON_COMPACT) : NULL;
    if (text != NULL) {
        mu_buf_append(out, text, strlen(text));
    }
    free(text);
    json_decref(fact);
}

/* ---- in children ---- */

static void ask_gpus(const void *arg, struct mu_buf *out)
{
    put_json(check_fact_gpus(((const struct question *)arg)->host), out);
}

static void ask_name(const void *arg, struct mu_buf *out)
{
    char name[256];
    const struct host_view *host = ((const struct question *)arg)->host;
    if (host_view_text(host, name, sizeof(name), "/proc/sys/kernel/hostname") == 0) {
        put_json(check_fact_name(name), out);
    }
}

static void ask_places(const void *arg, struct mu_buf *out)
{
    const struct question *q = arg;
    put_json(check_fact_places(q->host, q->spec), out);
}

static void ask_script(const void *arg, struct mu_buf *out)
{
    const struct question *q = arg;
    struct mu_err ignored = MU_ERR_INIT;
    mu_autofree char *program =
        q->spec->is_program ? find_program(q->spec->script, q->host->envp, &ignored) : NULL;
    put_json(check_fact_script(program != NULL ? program : q->spec->script), out);
}

/* Why a program gave no answer that makes sense. */
static void put_failure(json_t *fact, const struct check_answer *answer)
{
    struct mu_slice said = {.ptr = (const char *)answer->err.data, .len = answer->err.len};
    struct mu_slice line = lines_last(said, 1, MAX_REASON);
    mu_autofree char *reason = NULL;
    if (answer->is_late) {
        reason = mu_strdup("it did not answer in time");
    } else if (line.len > 0) {
        reason = mu_slice_dup(line);
    } else if (WIFSIGNALED(answer->status)) {
        reason = mu_asprintf("it was killed by signal %d", WTERMSIG(answer->status));
    } else {
        reason = mu_asprintf("it exited with status %d", WEXITSTATUS(answer->status));
    }
    check_fact_put_text(fact, "error", reason);
}

static struct mu_slice out_of(const struct check_answer *answer)
{
    return (struct mu_slice){.ptr = (const char *)answer->out.data, .len = answer->out.len};
}

static void ask_python(const void *arg, struct mu_buf *out)
{
    const struct question *q = arg;
    json_t *fact = json_object();
    struct mu_err err = MU_ERR_INIT;
    mu_autofree char *interpreter = find_interpreter(q->spec->python, q->host->envp, &err);
    if (interpreter == NULL) {
        check_fact_put_text(fact, "error", err.text);
        put_json(fact, out);
        return;
    }
    const char *argv[5];
    mu_autofree char *origin = NULL;
    check_fact_python_argv(interpreter, q->spec->is_module ? q->spec->script : NULL, argv);
    struct check_child *child = check_child_exec(argv, q->host->envp, PYTHON_MS);
    check_child_wait(&child, 1);
    const struct check_answer *answer = check_child_answer(child);
    json_t *told = answer->is_done ? check_fact_python(out_of(answer), &origin) : NULL;
    if (told != NULL) {
        json_object_update(fact, told);
        json_decref(told);
    } else {
        check_fact_put_text(fact, "executable", interpreter);
        put_failure(fact, answer);
    }
    if (origin != NULL) {
        json_object_set_new(fact, "script", check_fact_script(origin));
    }
    check_child_free(child);
    put_json(fact, out);
}

static json_t *program_fact(const struct host_view *host, const char *name)
{
    json_t *fact = json_object();
    struct mu_err err = MU_ERR_INIT;
    mu_autofree char *path = find_program(name, host->envp, &err);
    check_fact_put_text(fact, "name", name);
    check_fact_put_text(fact, "path", path);
    if (path != NULL && strcmp(name, "nvcc") == 0) {
        const char *const argv[] = {path, "--version", NULL};
        struct check_child *child = check_child_exec(argv, host->envp, NVCC_MS);
        check_child_wait(&child, 1);
        const struct check_answer *answer = check_child_answer(child);
        mu_autofree char *version = answer->is_done ? check_fact_nvcc(out_of(answer)) : NULL;
        check_fact_put_text(fact, "version", version);
        if (version == NULL) {
            put_failure(fact, answer);
        }
        check_child_free(child);
    }
    return fact;
}

static void ask_programs(const void *arg, struct mu_buf *out)
{
    const struct question *q = arg;
    json_t *programs = json_array();
    const char *rest = q->spec->require;
    struct mu_slice entry;
    while (rest != NULL && mu_slice_next_entry(&rest, &entry) &&
           json_array_size(programs) < MAX_REQUIRED) {
        mu_autofree char *name = mu_slice_dup(entry);
        if (name[0] != '\0') {
            json_array_append_new(programs, program_fact(q->host, name));
        }
    }
    put_json(programs, out);
}

/* ---- here ---- */

/* One that gives jobs a part of a node unless they ask for all of it. */
static bool is_batch(enum sched_kind kind)
{
    return kind == SCHED_SLURM || kind == SCHED_FLUX || kind == SCHED_PBS || kind == SCHED_LSF;
}

static void put_job(const struct check_spec *spec, json_t *facts)
{
    check_fact_put_text(facts, "muster", MUSTER_VERSION);
    check_fact_put_int(facts, "unix_ms", mu_clock_unix_ms());
    check_fact_put_int(facts, "monotonic_ms", mu_clock_ms());
    if (spec->workers > 0) {
        check_fact_put_int(facts, "workers", spec->workers);
    }
    if (spec->sched != NULL) {
        json_t *sched = json_object();
        check_fact_put_text(sched, "name", spec->sched->name);
        check_fact_put_int(sched, "gpus", spec->sched->gpus);
        check_fact_put_flag(sched, "is_batch", is_batch(spec->sched->kind));
        json_object_set_new(facts, "scheduler", sched);
    }
    const char *name = spec->node_name;
    name = name != NULL ? name : json_string_value(json_object_get(facts, "hostname"));
    check_fact_put_text(facts, "node", name != NULL ? name : "this node");
    if (spec->script != NULL) {
        check_fact_put_flag(facts, "needs_python", !spec->is_program);
    }
}

/* What a child found out, or that it is late. */
static void put_answer(json_t *facts, const char *key, const struct check_answer *answer)
{
    json_t *fact = NULL;
    if (answer->is_late) {
        fact = json_pack("{s:b}", "is_late", 1);
    } else if (answer->is_done && answer->out.len > 0) {
        fact = json_loadb((const char *)answer->out.data, answer->out.len, 0, NULL);
    }
    if (fact != NULL) {
        json_object_set_new(facts, key, fact);
    }
}

/* Leave out the longest parts, the ones that can be missed most first. */
static void fit(json_t *facts)
{
    static const struct {
        const char *in; /* NULL: in the facts themselves */
        const char *key;
    } parts[] = {{"python", "packages"},
                 {NULL, "nics"},
                 {NULL, "rdma"},
                 {"gpus", "devices"},
                 {NULL, "programs"}};
    for (size_t i = 0; json_dumpb(facts, NULL, 0, JSON_COMPACT) > CHECK_FACTS_MAX; i++) {
        MU_REQUIRE(i < MU_COUNT(parts)); /* all the rest is short */
        json_t *in = parts[i].in != NULL ? json_object_get(facts, parts[i].in) : facts;
        json_object_del(in, parts[i].key);
    }
}

json_t *check_facts_collect(const struct host_view *host, const struct check_spec *spec)
{
    const struct question q = {.host = host, .spec = spec};
    const struct {
        const char *key;
        check_child_fn ask;
        int64_t ms;
        bool is_asked;
    } parts[] = {
        {"gpus", ask_gpus, GPUS_MS, true},
        {"name", ask_name, NAME_MS, true},
        {"places", ask_places, FILES_MS, true},
        {"script", ask_script, FILES_MS, spec->script != NULL && !spec->is_module},
        {"python", ask_python, PYTHON_MS + MARGIN_MS, !spec->is_program},
        {"programs", ask_programs, NVCC_MS + MARGIN_MS, spec->require != NULL},
    };
    struct check_child *children[MU_COUNT(parts)];
    const char *keys[MU_COUNT(parts)];
    size_t count = 0;
    for (size_t i = 0; i < MU_COUNT(parts); i++) {
        if (parts[i].is_asked) {
            keys[count] = parts[i].key;
            children[count++] = check_child_call(parts[i].ask, &q, parts[i].ms);
        }
    }
    json_t *facts = json_object();
    check_fact_machine(host, spec->limit, facts);
    check_fact_links(host, facts);
    put_job(spec, facts);
    check_child_wait(children, count);
    for (size_t i = 0; i < count; i++) {
        put_answer(facts, keys[i], check_child_answer(children[i]));
        check_child_free(children[i]);
    }
    json_t *python = json_object_get(facts, "python");
    json_t *script = json_object_get(python, "script");
    if (script != NULL) { /* of the module, which only Python could find */
        json_object_set(facts, "script", script);
        json_object_del(python, "script");
    }
    fit(facts);
    return facts;
}
