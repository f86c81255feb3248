/* destinations.c: may a job send to where it wants to? See service.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "jobs/delivery.h"
#include "jobs/service_private.h"

static void complain(qd_issues *issues, const char *pointer, const char *name, const qd_error *why)
{
    if (issues->count == QD_ISSUES_MAX)
        return;
    qd_issue *issue = &issues->items[issues->count++];
    snprintf(issue->pointer, sizeof issue->pointer, "%s", pointer);
    snprintf(issue->detail, sizeof issue->detail, "%s: %.*s", name, (int)sizeof issue->detail - 40, why->text);
}

static void check_url(const qd_service *service, const char *pointer, const char *name, const char *url,
                      qd_purpose purpose, qd_issues *issues)
{
    qd_error why = { 0 };
    if (url != NULL && qd_fetch_check_destination(service->fetcher, url, purpose, &why) != QD_OK)
        complain(issues, pointer, name, &why);
}

/* Who gets a webhook must be able to tell that it is ours: one that is not signed is not sent. */
static void check_secret(const qd_recipe *recipe, qd_issues *issues)
{
    qd_error why = { 0 };
    unsigned char *key = NULL;
    size_t length = 0;
    if (recipe->webhook_url == NULL && recipe->webhook_secret == NULL)
        return;
    if (recipe->webhook_url == NULL) {
        qd_fail(&why, QD_EINVAL, "a secret without a url: nothing would be sent");
        complain(issues, "/webhook/url", "webhook.url", &why);
        return;
    }
    if (recipe->webhook_secret == NULL)
        qd_fail(&why, QD_EINVAL,
                "required, so that the receiver can check the signature: `echo whsec_$(openssl rand -base64 32)` makes "
                "one");
    else if (qd_webhook_key(recipe->webhook_secret, &key, &length, &why) == QD_OK)
        explicit_bzero(key, length);
    free(key);
    if (why.code != QD_OK)
        complain(issues, "/webhook/secret", "webhook.secret", &why);
}

void qd_service_check_destinations(qd_service *service, const qd_recipe *recipe, const json_t *request,
                                   qd_issues *issues)
{
    bool bare = json_is_string(json_object_get(request, "publish"));
    check_url(service, "/webhook/url", "webhook.url", recipe->webhook_url, QD_FOR_POST, issues);
    check_secret(recipe, issues);
    check_url(service, bare ? "/publish" : "/publish/url", "publish.url", recipe->publish_url, QD_FOR_UPLOAD, issues);
}
