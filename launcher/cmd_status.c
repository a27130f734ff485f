/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `muster status HOST:PORT`: how a job is doing, for people and for scripts.
 */
#include "launcher/cmd.h"

#include "launcher/status_client.h"
#include "launcher/status_text.h"
#include "muster/log.h"
#include "muster/mem.h"

int cmd_status(int argc, char **argv)
{
    struct options opts;
    int status;
    if (!cmd_begin(OPTIONS_STATUS, argc, argv, &opts, &status)) {
        return status;
    }
    struct mu_err err = MU_ERR_INIT;
    mu_autofree char *json =
        status_client_ask(&opts.target_address, opts.status_rdzv_id, opts.timeout_ms, &err);
    json_error_t problem;
    json_t *document = json != NULL ? json_loads(json, 0, &problem) : NULL;
    if (document == NULL) {
        if (json != NULL) {
            mu_err_set(&err, MU_E_PROTOCOL, 0, "an answer that is no JSON: %s", problem.text);
        }
        mu_log(MU_LOG_ERROR, "no status from %s: %s", opts.target, err.text);
        return STATUS_EXIT_UNREACHABLE;
    }
    struct mu_buf text = {0};
    if (opts.json) {
        mu_buf_printf(&text, "%s\n", json);
    } else if (opts.status_rdzv_id != NULL &&
               json_array_size(json_object_get(document, "jobs")) == 0) {
        mu_buf_printf(&text, "no job '%s'\n", opts.status_rdzv_id);
    } else if (opts.events) {
        status_text_events(document, &text);
    } else {
        status_text_render(document, &text);
    }
    status = status_text_exit(document);
    json_decref(document);
    if (cmd_print(&text, &err) != 0) {
        status = cmd_fail(&err);
    }
    mu_buf_fini(&text);
    return status;
}
