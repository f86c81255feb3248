/* sign_request.c: the service's own signature of requests that a test makes up. A line a request, fields with tabs between: method, URL, date,
 * region, digest of the body, access key id, secret, and headers as name and value. Prints the Authorization header of each. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/auto.h"
#include "fetch/sigv4.h"

enum { FIELDS = 7 };

static int answer(char *line)
{
    char *fields[FIELDS], *at = line, *authorization = NULL;
    qd_ask_header headers[QD_SIGNED_HEADERS_MAX];
    size_t count = 0;
    qd_error err;
    qd_url url = { 0 };
    for (size_t i = 0; i < FIELDS; i++)
        if ((fields[i] = strsep(&at, "\t")) == NULL)
            return 1;
    while (at != NULL && count < QD_LENGTH(headers)) {
        headers[count].name = strsep(&at, "\t");
        headers[count++].value = at == NULL ? "" : strsep(&at, "\t");
    }
    const qd_aws_keys keys = { .id = fields[5], .secret = fields[6] };
    if (qd_url_parse(fields[1], &url, &err) != QD_OK) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    const qd_sigv4_request request = { .method = fields[0],
                                       .url = &url,
                                       .headers = headers,
                                       .header_count = count,
                                       .payload_sha256 = fields[4],
                                       .date = fields[2],
                                       .region = fields[3],
                                       .service = "s3" };
    int failed = qd_sigv4_sign(&request, &keys, &authorization, &err) != QD_OK;
    if (!failed)
        puts(authorization);
    free(authorization);
    qd_url_fini(&url);
    return failed;
}

int main(void)
{
    char *line = NULL;
    size_t size = 0;
    int failed = 0;
    for (ssize_t length; !failed && (length = getline(&line, &size, stdin)) > 0;) {
        line[strcspn(line, "\n")] = '\0';
        failed = answer(line);
    }
    free(line);
    return failed;
}
