/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/uv_master_addr.h"

#include "muster/addr.h"
#include "muster/log.h"
#include "muster/mem.h"
#include "muster/uv_conn.h"

#include <netinet/in.h>

enum { TRY_MS = 2000 };

struct uv_master_addr {
    uv_loop_t *loop;
    uv_timer_t timer;
    uv_master_addr_done_fn done;
    void *arg;
    struct uv_conn *conn; /* owned; an attempt is under way */
    char address[INET6_ADDRSTRLEN];
    uint16_t port;
    bool has_answered;
    char local[INET6_ADDRSTRLEN]; /* if it has */
    char node_name[MU_MAX_NAME + 1];
    char known[INET6_ADDRSTRLEN];
};

static void on_timer_closed(uv_handle_t *handle)
{
    free(handle->data);
}

struct uv_master_addr *uv_master_addr_new(uv_loop_t *loop, uv_master_addr_done_fn done, void *arg)
{
    struct uv_master_addr *m = mu_alloc(sizeof(*m));
    m->loop = loop;
    m->done = done;
    m->arg = arg;
    uv_timer_init(loop, &m->timer);
    m->timer.data = m;
    return m;
}

static void warn(const struct uv_master_addr *m, const char *why)
{
    struct mu_endpoint e = {.port = m->port};
    snprintf(e.host, sizeof(e.host), "%s", m->address);
    char text[INET6_ADDRSTRLEN + 16];
    mu_endpoint_format(&e, text, sizeof(text));
    mu_log(MU_LOG_WARN,
           "from %s the coordinator cannot be reached at %s (%s), the address that --iface or "
           "--cidr of its node choose: MASTER_ADDR stays %s for this node's workers",
           m->node_name, text, why, m->known);
}

static void stop(struct uv_master_addr *m)
{
    uv_timer_stop(&m->timer);
    if (m->conn != NULL) {
        uv_conn_close(m->conn);
        m->conn = NULL;
    }
}

static void on_connected(void *arg, const struct mu_err *failure)
{
    struct uv_master_addr *m = arg;
    m->has_answered = failure == NULL;
    if (failure == NULL) {
        snprintf(m->local, sizeof(m->local), "%s", uv_conn_local(m->conn));
    } else {
        warn(m, failure->text);
    }
    stop(m);
    m->done(m->arg);
}

static void on_timeout(uv_timer_t *timer)
{
    struct uv_master_addr *m = timer->data;
    char why[64];
    snprintf(why, sizeof(why), "no answer within %d s", TRY_MS / 1000);
    stop(m);
    warn(m, why);
    m->done(m->arg);
}

void uv_master_addr_try(struct uv_master_addr *m, const struct uv_master_addr_spec *spec)
{
    char address[INET6_ADDRSTRLEN] = "";
    if (spec->address.len < sizeof(address)) {
        snprintf(address, sizeof(address), MU_SLICE_FMT, MU_SLICE_ARG(spec->address));
    }
    if (strcmp(address, m->address) == 0 && spec->port == m->port) {
        return;
    }
    stop(m);
    m->has_answered = false;
    m->port = spec->port;
    snprintf(m->address, sizeof(m->address), "%s", address);
    snprintf(m->node_name, sizeof(m->node_name), "%s", spec->node_name);
    snprintf(m->known, sizeof(m->known), "%s", spec->known);
    struct sockaddr_storage addr;
    if (mu_addr_from_numeric(address, spec->port, &addr) != 0) {
        return;
    }
    struct mu_err err = MU_ERR_INIT;
    m->conn = uv_conn_connect(m->loop, (const struct sockaddr *)&addr, on_connected, m, &err);
    if (m->conn == NULL) {
        warn(m, err.sys != 0 ? uv_strerror(-err.sys) : err.text);
        return;
    }
    uv_timer_start(&m->timer, on_timeout, TRY_MS, 0);
}

bool uv_master_addr_is_trying(const struct uv_master_addr *m)
{
    return m->conn != NULL;
}

const char *uv_master_addr_proven(const struct uv_master_addr *m)
{
    return m->has_answered ? m->address : "";
}

const char *uv_master_addr_local(const struct uv_master_addr *m)
{
    return m->local;
}

void uv_master_addr_close(struct uv_master_addr *m)
{
    if (m != NULL) {
        stop(m);
        uv_close((uv_handle_t *)&m->timer, on_timer_closed);
    }
}
