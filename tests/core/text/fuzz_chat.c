/* fuzz_chat.c: any text as a chat template, run on conversations. The input is the template; a text is given or a reason
 * not to, the same each time. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "base/json.h"
#include "text/chat.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void render(const qd_chat *chat, const json_t *messages)
{
    qd_error err = { 0 };
    QD_AUTO(qd_str_fini) qd_str first = { 0 }, second = { 0 };
    qd_code code = qd_chat_render(chat, messages, &first, &err);
    assert(code != QD_EINTERNAL && (code == QD_OK || (first.length == 0 && err.text[0] != '\0')));
    assert(qd_chat_render(chat, messages, &second, &err) == code);
    assert(first.length == second.length && (first.length == 0 || memcmp(first.data, second.data, first.length) == 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const conversations[] = {
        "[]",
        ("[{\"role\":\"user\",\"content\":\"Hi\"},{\"role\":\"assistant\",\"content\":\" h\xC3\xA9 "
         "\\n\",\"n\":[1,2.5,null,true]}]"),
        "[{\"role\":\"system\",\"content\":\"\"},{\"role\":\"user\",\"content\":\"<think>a</think>b\"}]",
    };
    qd_error err = { 0 };
    qd_chat *chat = NULL;
    QD_AUTO(qd_json_fini) json_t *variables = json_pack("{s:s}", "bos_token", "<s>");
    if (size > 8192 || qd_chat_compile((const char *)data, size, variables, &chat, &err) != QD_OK)
        return 0;
    for (size_t i = 0; i < QD_LENGTH(conversations); i++) {
        QD_AUTO(qd_json_fini) json_t *messages = json_loads(conversations[i], 0, NULL);
        render(chat, messages);
    }
    qd_chat_destroy(chat);
    return 0;
}
