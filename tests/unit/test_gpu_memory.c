/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/gpu_holders.h"
#include "launcher/gpu_memory.h"

#include "muster/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/host_rig.h"

#define A   "0000:1b:00.0"
#define B   "0000:4e:00.0"
#define GIB (UINT64_C(1) << 30)
#define MIB (UINT64_C(1) << 20)

/* Two GPUs and the fake NVML, which reads "use" below the root. */
struct rig {
    struct host_rig host;
    struct gpu_holders *holders;
    struct gpu_memory memory;
};

static void setup(struct rig *r)
{
    memset(r, 0, sizeof(*r));
    host_rig_init(&r->host, "0");
    host_rig_nvidia(&r->host, A, 0, "GPU-a", 0);
    host_rig_nvidia(&r->host, B, 1, "GPU-b", 1);
    r->host.host.nvml_library = host_rig_nvml();
    setenv("FAKE_NVML", A " GPU-a MIG-a1;" B " GPU-b", 1);
    mu_autofree char *use = mu_asprintf("%s/use", r->host.root);
    setenv("FAKE_NVML_USE", use, 1);
    r->holders = gpu_holders_new(&r->host.host, "/runs/one");
}

static void teardown(struct rig *r)
{
    gpu_memory_fini(&r->memory);
    gpu_holders_free(r->holders);
    host_rig_fini(&r->host);
}

static void use(struct rig *r, const char *text)
{
    gpu_memory_fini(&r->memory);
    host_rig_write(&r->host, text, "/use");
    struct gpu_meter *meter = gpu_meter_open(&r->host.host);
    assert_non_null(meter);
    gpu_meter_read(meter, &r->memory);
    gpu_meter_close(meter);
}

/* A process of the invented machine. */
static void add_process(struct rig *r, int pid, char state, unsigned start, const char *command)
{
    char text[256];
    snprintf(text, sizeof(text), "%d (x) %c 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 %u 0 0\n", pid,
             state, start);
    host_rig_write(&r->host, text, "/proc/%d/stat", pid);
    host_rig_write(&r->host, command, "/proc/%d/cmdline", pid);
}

static void remove_process(struct rig *r, int pid)
{
    static const char *const names[] = {"stat", "cmdline"};
    for (size_t i = 0; i < MU_COUNT(names); i++) {
        mu_autofree char *path = mu_asprintf("%s/proc/%d/%s", r->host.root, pid, names[i]);
        assert_int_equal(unlink(path), 0);
    }
}

static void assert_held(struct rig *r, uint64_t bytes, const char *who)
{
    struct mu_buf text = {0};
    assert_int_equal(gpu_holders_judge(r->holders, &r->memory, &text), bytes);
    mu_buf_append_u8(&text, '\0');
    assert_string_equal((char *)text.data, who);
    mu_buf_fini(&text);
}

static void test_devices(void **state)
{
    (void)state;
    struct host_rig none;
    host_rig_init(&none, "0");
    none.host.nvml_library = host_rig_nvml();
    assert_false(gpu_memory_has_devices(&none.host));
    assert_null(gpu_meter_open(&none.host));
    host_rig_write(&none, "", "/dev/nvidiactl");
    assert_true(gpu_memory_has_devices(&none.host));
    host_rig_fini(&none);
    struct rig r;
    setup(&r);
    assert_true(gpu_memory_has_devices(&r.host.host));
    r.host.host.nvml_library = "/no/such/library";
    assert_null(gpu_meter_open(&r.host.host));
    teardown(&r);
}

static void test_reading(void **state)
{
    (void)state;
    struct rig r;
    setup(&r);
    use(&r, A " 2048 17:1024 18:512\n" B " 5\n");
    assert_int_equal(r.memory.count, 2);
    assert_string_equal(r.memory.items[0].name, "GPU 0 (" A ")");
    assert_true(r.memory.items[0].is_known);
    assert_int_equal(r.memory.items[0].used, 2 * GIB);
    assert_int_equal(r.memory.items[0].process_count, 2);
    assert_int_equal(r.memory.items[0].processes[1].pid, 18);
    assert_int_equal(r.memory.items[0].processes[1].bytes, GIB / 2);
    assert_int_equal(r.memory.items[1].used, 5 * MIB);
    assert_int_equal(r.memory.items[1].process_count, 0);
    use(&r, "old\n" A " 2048\n");
    assert_int_equal(r.memory.items[0].used, 2 * GIB);
    use(&r, "error\n");
    assert_false(r.memory.items[0].is_known);
    teardown(&r);
}

/* More processes than there is room for at first. */
static void test_many_processes(void **state)
{
    (void)state;
    struct rig r;
    setup(&r);
    struct mu_buf text = {0};
    mu_buf_printf(&text, A " 4096");
    for (int i = 0; i < 200; i++) {
        mu_buf_printf(&text, " %d:1", 1000 + i);
    }
    mu_buf_append_u8(&text, '\0');
    use(&r, (char *)text.data);
    mu_buf_fini(&text);
    assert_int_equal(r.memory.items[0].process_count, 200);
    assert_int_equal(r.memory.items[0].processes[199].pid, 1199);
    teardown(&r);
}

static void test_visible_ones_only(void **state)
{
    (void)state;
    struct rig r;
    setup(&r);
    static char second[] = "CUDA_VISIBLE_DEVICES=1";
    r.host.env[0] = second;
    use(&r, A " 2048\n" B " 5\n");
    assert_int_equal(r.memory.count, 1);
    assert_string_equal(r.memory.items[0].name, "GPU 0 (" B ")");
    static char mig[] = "CUDA_VISIBLE_DEVICES=MIG-a1";
    r.host.env[0] = mig;
    use(&r, A " 2048\nMIG-a1 7 17:6\n");
    assert_int_equal(r.memory.count, 1);
    assert_string_equal(r.memory.items[0].name, "GPU 0 (MIG-a1)");
    assert_int_equal(r.memory.items[0].used, 7 * MIB);
    assert_int_equal(r.memory.items[0].process_count, 1);
    teardown(&r);
}

static void test_worker_that_has_ended(void **state)
{
    (void)state;
    struct rig r;
    setup(&r);
    add_process(&r, 4711, 'S', 100, "python3");
    gpu_holders_add_worker(r.holders, 4711);
    gpu_holders_add_worker(r.holders, 4712); /* had ended before it was looked at */
    gpu_holders_begin(r.holders);
    use(&r, "");
    assert_held(&r, 0, "");
    use(&r, A " 2048 4711:2048\n");
    assert_held(&r, 2 * GIB,
                "2.0 GiB on GPU 0 (" A ") held by process 4711 (python3), a worker of an earlier "
                "round");
    remove_process(&r, 4711);
    use(&r, A " 2048 4711:2048\n" B " 300 4712:300\n");
    assert_held(&r, 2 * GIB + 300 * MIB,
                "2.0 GiB on GPU 0 (" A ") held by process 4711, a worker of an earlier round that "
                "has ended; 300 MiB on GPU 1 (" B ") held by process 4712, a worker of an earlier "
                "round that has ended");
    add_process(&r, 4711, 'Z', 100, ""); /* not reaped yet */
    use(&r, A " 2048 4711:2048\n");
    assert_held(&r, 2 * GIB,
                "2.0 GiB on GPU 0 (" A ") held by process 4711, a worker of an earlier round that "
                "has ended");
    add_process(&r, 4711, 'S', 999, "other"); /* another process of that pid */
    assert_held(&r, 0, "");
    teardown(&r);
}

static void test_process_of_a_worker(void **state)
{
    (void)state;
    struct rig r;
    setup(&r);
    add_process(&r, 50, 'S', 100, "serve\n--all");
    add_process(&r, 51, 'S', 100, "another");
    add_process(&r, 52, 'S', 100, "third");
    mu_autofree char *directory = host_rig_place(&r.host, "/proc/50/environ");
    FILE *f = fopen(directory, "we");
    static const char environment[] =
        "A=1\0TORCHELASTIC_ERROR_FILE=/runs/one/attempt_0/0/error.json\0Z=2";
    assert_int_equal(fwrite(environment, sizeof(environment), 1, f), 1);
    assert_int_equal(fclose(f), 0);
    host_rig_write(&r.host, "TORCHELASTIC_ERROR_FILE=/runs/one2/attempt_0/0/error.json",
                   "/proc/51/environ");
    gpu_holders_begin(r.holders);
    use(&r, B " 2048 50:1024 51:512 52:512\n");
    assert_held(&r, GIB,
                "1.0 GiB on GPU 1 (" B ") held by process 50 (serve?--all), started by a worker "
                "of an earlier round");
    teardown(&r);
}

static void set_before(struct rig *r, const char *text)
{
    use(r, text);
    gpu_holders_set_before(r->holders, &r->memory);
    gpu_holders_begin(r->holders);
}

/* In a container: pids that are not there, or none. */
static void test_memory_of_nobody_seen(void **state)
{
    (void)state;
    static const char unseen[] =
        "2.0 GiB on GPU 0 (" A ") held by processes that cannot be seen from here";
    struct rig r;
    setup(&r);
    gpu_holders_begin(r.holders);
    use(&r, A " 70000\n");
    assert_held(&r, 0, ""); /* it is not known what was before */
    set_before(&r, A " 1000\n" B " 20000\n");
    use(&r, A " 3048 99999:2048\n" B " 20900\n");
    assert_held(&r, 2 * GIB, unseen);
    use(&r, A " 1256\n" B " 21000\n"); /* 256 MiB, 5 % */
    assert_held(&r, 0, "");
    gpu_holders_begin(r.holders);
    use(&r, B " 21025\n");
    assert_held(&r, 1025 * MIB,
                "1.0 GiB on GPU 1 (" B ") held by processes that cannot be seen from here");
    teardown(&r);
}

/* The dead only give back, so what grows is somebody else's. */
static void test_memory_that_grows(void **state)
{
    (void)state;
    struct rig r;
    setup(&r);
    set_before(&r, "");
    use(&r, A " 4096\n");
    assert_held(&r, 4 * GIB,
                "4.0 GiB on GPU 0 (" A ") held by processes that cannot be seen from here");
    use(&r, A " 5000\n");
    assert_held(&r, 0, "");
    use(&r, A " 4096\n");
    assert_held(&r, 0, "");
    gpu_holders_begin(r.holders);
    assert_held(&r, 4 * GIB,
                "4.0 GiB on GPU 0 (" A ") held by processes that cannot be seen from here");
    teardown(&r);
}

/* What the workers have when the first look is late is not what was there before them. */
static void test_workers_at_the_first_look(void **state)
{
    (void)state;
    struct rig r;
    setup(&r);
    add_process(&r, 4711, 'S', 100, "python3");
    gpu_holders_add_worker(r.holders, 4711);
    set_before(&r, A " 3000 4711:2900\n");
    remove_process(&r, 4711);
    use(&r, A " 3000\n");
    assert_held(&r, 2900 * MIB,
                "2.8 GiB on GPU 0 (" A ") held by processes that cannot be seen from here");
    teardown(&r);
}

static void test_many_holders(void **state)
{
    (void)state;
    struct rig r;
    setup(&r);
    for (int i = 0; i < 6; i++) {
        gpu_holders_add_worker(r.holders, 100 + i);
    }
    gpu_holders_begin(r.holders);
    use(&r, A " 600 100:1 101:1 102:1\n" B " 600 103:1 104:1 105:1\n");
    struct mu_buf text = {0};
    assert_int_equal(gpu_holders_judge(r.holders, &r.memory, &text), 6 * MIB);
    mu_buf_append_u8(&text, '\0');
    assert_non_null(strstr((char *)text.data, "process 103"));
    assert_null(strstr((char *)text.data, "process 104"));
    assert_non_null(strstr((char *)text.data, "; and by 2 more"));
    mu_buf_fini(&text);
    teardown(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_devices),
        cmocka_unit_test(test_reading),
        cmocka_unit_test(test_many_processes),
        cmocka_unit_test(test_visible_ones_only),
        cmocka_unit_test(test_worker_that_has_ended),
        cmocka_unit_test(test_process_of_a_worker),
        cmocka_unit_test(test_memory_of_nobody_seen),
        cmocka_unit_test(test_memory_that_grows),
        cmocka_unit_test(test_workers_at_the_first_look),
        cmocka_unit_test(test_many_holders),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
