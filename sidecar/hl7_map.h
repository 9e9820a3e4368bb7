/*
 * The message that an event becomes for an mllp integration which has no
 * transform of its own: a jq program, hl7_map.jq, that is part of the binary.
 *
 *   action                          message   members of the payload
 *   57, 58 registration, profile    ADT^A04   patient, visit
 *   59 demographic update           ADT^A08   patient, visit
 *   1, 4 bill; 2 cancelled          ORM^O01   patient, visit, orders
 *   3 settlement                    DFT^P03   patient, charges
 *   20 .. 24 samples                OML^O21   patient, visit, orders
 *   40 .. 43 reports                ORU^R01   patient, report
 *   70 .. 73 appointments           SIU^S12, S14, S15   patient, appointment
 *
 * payload.message_type, such as "ADT^A28^ADT_A05", names another.  README,
 * "HL7 messages", lists the members of each.
 */

#ifndef HL7_MAP_H
#define HL7_MAP_H

#include "buf.h"

/* Static; never empty. */
struct slice hl7_map(void);

#endif /* HL7_MAP_H */
