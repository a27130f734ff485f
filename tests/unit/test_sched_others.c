/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/sched.h"

#include "muster/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "tests/unit/host_rig.h"

static void set_env(struct host_rig *r, const char *const *entries)
{
    size_t i = 0;
    for (; entries[i] != NULL; i++) {
        assert_true(i + 1 < MU_COUNT(r->env));
        r->env[i] = (char *)(uintptr_t)entries[i];
    }
    r->env[i] = NULL;
}
#define SET_ENV(r, ...) set_env(r, (const char *const[]){__VA_ARGS__, NULL})

/* What is read, in a line; or the error. Owned by the caller. */
static char *read_all(struct host_rig *r)
{
    struct sched_wish wish = {.scheduler = "auto"};
    struct sched *s = NULL;
    struct mu_err err = MU_ERR_INIT;
    struct mu_buf out = {0};
    if (sched_read(&r->host, &wish, &s, &err) != 0) {
        assert_int_equal(err.code, MU_E_USAGE);
        return mu_strdup(err.text);
    }
    if (s == NULL) {
        return mu_strdup("nothing");
    }
    mu_buf_printf(&out, "%s %s node %d/%u '%s' at %s:%u%s%s", s->name, s->run_id, s->node_index,
                  s->node_count, s->node_name, s->place_count > 0 ? s->places[0] : "?",
                  s->port_count > 0 ? s->ports[0] : 0, s->needs_nnodes ? " needs nnodes" : "",
                  s->place_count == 0 && s->advice != NULL ? " advises" : "");
    sched_free(s);
    return mu_buf_take_text(&out);
}

static void assert_reads(struct host_rig *r, const char *expected)
{
    mu_autofree char *found = read_all(r);
    assert_string_equal(found, expected);
}

/* A ladder begins where its seed says. */
static void assert_reads_on_ladder(struct host_rig *r, const char *seed, const char *expected)
{
    uint16_t ports[SCHED_PORTS];
    sched_ladder(seed, ports);
    mu_autofree char *found = read_all(r);
    mu_autofree char *with_port = mu_asprintf("%s:%u", expected, ports[0]);
    assert_string_equal(found, with_port);
}

static void test_kubernetes_indexed_job(void **state)
{
    (void)state;
    struct host_rig r;
    host_rig_init(&r, "0");
    host_rig_write(&r, "train-3\n", "/proc/sys/kernel/hostname");
    host_rig_write(&r,
                   "# Kubernetes-managed hosts file.\n"
                   "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n"
                   "10.1.2.3\ttrain-3.mesh.ml.svc.cluster.local\ttrain-3\n",
                   "/etc/hosts");
    SET_ENV(&r, "KUBERNETES_SERVICE_HOST=10.0.0.1", "JOB_COMPLETION_INDEX=3");
    assert_reads(&r, "Kubernetes train.mesh.ml node 3/0 'train-3' at "
                     "train-0.mesh.ml.svc.cluster.local:29500 needs nnodes");
    /* Without a service nobody can be found. */
    host_rig_write(&r, "127.0.0.1 localhost\n10.1.2.3 train-3\n", "/etc/hosts");
    assert_reads(&r, "Kubernetes  node 3/0 'train-3' at ?:0 needs nnodes advises");
    /* The network of the node: its name says nothing of the pods. */
    host_rig_write(&r, "gpu-node-7\n", "/proc/sys/kernel/hostname");
    host_rig_write(&r, "10.0.0.7 gpu-node-7.example.org gpu-node-7\n", "/etc/hosts");
    assert_reads(&r, "Kubernetes  node 3/0 'gpu-node-7' at ?:0 needs nnodes advises");
    /* setHostnameAsFQDN */
    host_rig_write(&r, "train-3.mesh.ml.svc.cluster.local\n", "/proc/sys/kernel/hostname");
    assert_reads(&r, "Kubernetes train.mesh.ml node 3/0 'train-3' at "
                     "train-0.mesh.ml.svc.cluster.local:29500 needs nnodes");
    host_rig_fini(&r);
}

static void test_kubernetes_stateful_set(void **state)
{
    (void)state;
    struct host_rig r;
    host_rig_init(&r, "0");
    host_rig_write(&r, "web-12\n", "/proc/sys/kernel/hostname");
    host_rig_write(&r, "10.1.2.3\tweb-12.nginx.default.svc.cluster.local\tweb-12\n", "/etc/hosts");
    SET_ENV(&r, "KUBERNETES_SERVICE_HOST=10.0.0.1");
    assert_reads(&r, "Kubernetes web.nginx.default node 12/0 'web-12' at "
                     "web-0.nginx.default.svc.cluster.local:29500");
    /* Any other pod is nothing special, whatever its name. */
    host_rig_write(&r, "10.1.2.3\tweb-12\n", "/etc/hosts");
    assert_reads(&r, "nothing");
    static const char *const names[] = {"web", "web-", "-1", "web-01", "web-1a", "web-99999999"};
    for (size_t i = 0; i < MU_COUNT(names); i++) {
        host_rig_write(&r, names[i], "/proc/sys/kernel/hostname");
        mu_autofree char *line = mu_asprintf("10.1.2.3 %s.nginx.default.svc.x\n", names[i]);
        host_rig_write(&r, line, "/etc/hosts");
        assert_reads(&r, "nothing");
    }
    SET_ENV(&r, "HOME=/");
    assert_reads(&r, "nothing");
    host_rig_fini(&r);
}

static void test_flux(void **state)
{
    (void)state;
    struct host_rig r;
    host_rig_init(&r, "0");
    SET_ENV(&r, "FLUX_JOB_ID=f4sPd", "FLUX_JOB_SIZE=4", "FLUX_JOB_NNODES=4", "FLUX_TASK_RANK=2",
            "FLUX_TASK_LOCAL_ID=0");
    assert_reads(&r, "Flux flux-f4sPd node 2/4 '' at ?:0 advises");
    SET_ENV(&r, "FLUX_JOB_ID=f4sPd", "FLUX_JOB_SIZE=8", "FLUX_JOB_NNODES=4", "FLUX_TASK_RANK=2");
    assert_reads(&r, "Flux started 8 tasks on 4 nodes, but muster is to be started once on each "
                     "node and starts the workers itself: flux run -N4 --tasks-per-node=1");
    SET_ENV(&r, "FLUX_URI=local:///run/flux/local");
    assert_reads(&r, "nothing");
    host_rig_fini(&r);
}

static void test_pbs(void **state)
{
    (void)state;
    struct host_rig r;
    host_rig_init(&r, "0");
    host_rig_write(&r, "n2.cluster\n", "/proc/sys/kernel/hostname");
    host_rig_write(&r, "n1\nn1\nn2\nn2\nn1\n\nn3\n", "/var/spool/pbs/aux/12.srv");
    SET_ENV(&r, "PBS_JOBID=12.srv", "PBS_NODEFILE=/var/spool/pbs/aux/12.srv");
    assert_reads_on_ladder(&r, "pbs-12.srv", "PBS pbs-12.srv node 1/0 'n2' at n1");
    SET_ENV(&r, "PBS_JOBID=12.srv", "PBS_NODEFILE=/not/there");
    assert_reads(&r, "PBS pbs-12.srv node -1/0 '' at ?:0 advises");
    SET_ENV(&r, "PBS_JOBID=12.srv");
    assert_reads(&r, "nothing");
    host_rig_fini(&r);
}

static void test_lsf(void **state)
{
    (void)state;
    struct host_rig r;
    host_rig_init(&r, "0");
    host_rig_write(&r, "b\n", "/proc/sys/kernel/hostname");
    SET_ENV(&r, "LSB_JOBID=77", "LSB_JOBINDEX=0", "LSB_MCPU_HOSTS=a.x 4 b.x 4 c.x 2 ",
            "LSF_PM_TASKID=2");
    assert_reads_on_ladder(&r, "lsf-77", "LSF lsf-77 node 1/3 'b.x' at a.x");
    SET_ENV(&r, "LSB_JOBID=77", "LSB_JOBINDEX=5", "LSB_MCPU_HOSTS=a.x 4 b.y 4", "LSF_PM_TASKID=1");
    host_rig_write(&r, "b.x\n", "/proc/sys/kernel/hostname");
    assert_reads_on_ladder(&r, "lsf-77.5", "LSF lsf-77.5 node -1/2 '' at a.x");
    /* The script of the job, which runs once. */
    SET_ENV(&r, "LSB_JOBID=77", "LSB_MCPU_HOSTS=b.x 4 c.x 4");
    assert_reads_on_ladder(&r, "lsf-77", "LSF lsf-77 node 0/0 'b.x' at b.x");
    SET_ENV(&r, "LSB_JOBID=77", "LSB_MCPU_HOSTS=a 4 b 4", "LSF_PM_TASKID=3");
    assert_reads(&r, "LSF started more tasks than the job has hosts (2), but muster is to be "
                     "started once on each host and starts the workers itself: bsub -R "
                     "'span[ptile=1]', or blaunch -z with each host once");
    host_rig_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kubernetes_indexed_job),
        cmocka_unit_test(test_kubernetes_stateful_set),
        cmocka_unit_test(test_flux),
        cmocka_unit_test(test_pbs),
        cmocka_unit_test(test_lsf),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
