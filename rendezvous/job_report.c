/* SPDX-License-Identifier: Apache-2.0 */
#include "muster/job_report.h"

#include "muster/limits.h"
#include "muster/version.h"
#include "rendezvous/job_view.h"

enum { FORMAT = 1, EVENTS = 50 };

static char *take_text(json_t *document)
{
    char *text = json_dumps(document, JSON_INDENT(2));
    json_decref(document);
    return text;
}

/* `job` with the head that all reports have; takes the reference. */
static json_t *with_head(json_t *job, const char *summary)
{
    json_t *document = json_pack("{s:i, s:s}", "report_format", FORMAT, "muster", MUSTER_VERSION);
    json_object_update(document, job);
    json_decref(job);
    json_object_set_new(document, "summary", job_view_text_json(summary));
    return document;
}

char *job_report_text(const struct member_view *view, const char *summary)
{
    json_t *document = with_head(job_view_summary_json(view), summary);
    json_object_set_new(document, "events", job_view_events_json(view, EVENTS, MU_REPORT_EVENTS));
    return take_text(document);
}

char *job_report_text_alone(const char *run_id, int exit_status, const char *summary)
{
    json_t *job =
        json_pack("{s:s, s:s, s:i, s:n}", "run_id", run_id, "state",
                  exit_status > 128 ? "stopped" : "failed", "exit_status", exit_status, "failure");
    return take_text(with_head(job, summary));
}
