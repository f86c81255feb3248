/* memory_gate.c: see memory_gate.h. */
#include "jobs/memory_gate.h"

#include <stddef.h>

void qd_gate_come(qd_memory_gate *gate, qd_gate_ticket *ticket)
{
    qd_gate_ticket **at = &gate->line;
    while (*at != NULL)
        at = &(*at)->next;
    ticket->next = NULL;
    *at = ticket;
}

static void remove_from_line(qd_memory_gate *gate, const qd_gate_ticket *ticket)
{
    for (qd_gate_ticket **at = &gate->line; *at != NULL; at = &(*at)->next) {
        if (*at == ticket) {
            *at = ticket->next;
            return;
        }
    }
}

static bool fits(const qd_memory_gate *gate, const qd_gate_ticket *ticket)
{
    return gate->limit == 0 || (ticket->bytes <= gate->limit && gate->inside_bytes <= gate->limit - ticket->bytes);
}

bool qd_gate_try(qd_memory_gate *gate, qd_gate_ticket *ticket, double now)
{
    const qd_gate_ticket *first = gate->line;
    if (ticket->inside)
        return true;
    if (!fits(gate, ticket) || (first != ticket && now - first->since > QD_GATE_PATIENCE))
        return false;
    remove_from_line(gate, ticket);
    gate->inside_bytes += ticket->bytes;
    ticket->inside = true;
    return true;
}

void qd_gate_leave(qd_memory_gate *gate, qd_gate_ticket *ticket)
{
    if (ticket->inside)
        gate->inside_bytes -= ticket->bytes;
    else
        remove_from_line(gate, ticket);
    ticket->inside = false;
}
