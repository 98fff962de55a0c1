"""The words that say how a condition is meant: absent, possible, past, another's, or not yet.

Written for this project from the idea of ConText (Harkema et al. 2009) and NegEx (Chapman et al.
2001), inferred throughout: no list of theirs was copied. Phrases are apart by "; ". YEAR stands for
a number from 1900 to 2099. A number in brackets is how many words a cue reaches, at most.
"""

# A cue that speaks of what comes after it.
FORWARD = {
    "negated": "no; not have; not had; not having; not show; not demonstrate; not reveal; not "
    "find; not suggest; not indicate; not support; not develop; not consistent with; not "
    "suggestive of; not appear to have; not diagnosed with; not feel that; never had; never has; "
    "never have; never been diagnosed with; never diagnosed with; without; w o; denies; denied; "
    "deny; denying; negative for; neg for; absence of; absent; lack of; lacks; free of; ruled "
    "out for; ruled out; nor; neither; fails to reveal; failed to reveal; unlikely; doubt; "
    "unremarkable for; tested negative for; no evidence of; no history of; no prior history of; "
    "no previous history of; no known history of; no significant history of; no personal history "
    "of; no past history of; denies history of; denies any history of; denies a history of; "
    "denies prior history of; denies any prior history of; denies past history of; without "
    "history of; without a history of; negative history of; no family history; no family history "
    "of; no significant family history of; denies family history of; denies any family history "
    "of; family history is negative for; family history negative for; not reporting; not report; "
    "not complaining of; not complain of; not endorse; not endorsing; not experience; not "
    "experiencing; not admit to; no past medical history of; no hx of; no h o; rather than; "
    "instead of; doesn t have; didn t have; don t have; hasn t had; haven t had; doubt that; no "
    "one in the family has; nobody in the family has",
    "possible": "possible; possibly; probable; probably; likely; most likely; suspected; "
    "suspect; suspicion for; suspicion of; suspicious for; presumed; presumptive; questionable; "
    "question of; concern for; concerns for; concerning for; worrisome for; worried about; may "
    "have; may be; might have; might be; could have; could be; may represent; could represent; "
    "may reflect; could reflect; rule out; r o; to rule out; evaluate for; evaluated for; "
    "evaluation for; evaluation of; work up for; workup for; assess for; test for; tested for; "
    "testing for; differential; differential diagnosis; ddx; versus; vs; suggestive of; "
    "suggests; suggesting; suggest; consider; considered; cannot exclude; cannot rule out; can "
    "not rule out; cannot be certain; not ruled out; not excluded; not sure; not certain; "
    "unclear if; uncertain whether; appears to have; appears to be; compatible with; equivocal "
    "for; unable to exclude; thought to be; thought to have; felt to be; not certain if; likely "
    "due to; likely secondary to; likely from; probably due to; possibly due to",
    "historical": "history of; past history of; past medical history of; medical history of; "
    "medical history significant for; medical history includes; history significant for; history "
    "notable for; history includes; history is significant for; history positive for; h o; hx "
    "of; hx; history; past medical history; past; previous; previously; prior; former; formerly; "
    "remote; old; s p; status post; used to have; childhood; resolution of; no longer; no longer "
    "has; no longer have; no recurrence of; no recurrent; no evidence of recurrence of; no "
    "evidence of recurrent; recovered from; survivor of",
    "family": "family history of; family history is positive for; family history positive for; "
    "family history significant for; family history is significant for; family history notable "
    "for; family history includes; family history; family medical history; family hx of; family "
    "hx; fam hx; fh of; fhx of; family member; family members; relative with; relatives with; "
    "runs in the family",
    "hypothetical": "if; should you; should he; should she; should they; should the patient; "
    "unless; in case of; in the event of; risk of; risk for; risks of; risks for; at risk for; "
    "at risk of; risk factor for; risk factors for; to prevent; prevent; prevention of; "
    "preventing; to avoid; avoid; prophylaxis for; prophylaxis against; prophylactic; watch for; "
    "watching for; monitor for; monitoring for; look for; return for; return to; call for; "
    "screening for; screen for; screened for; predispose to; predisposes to; predisposition to; "
    "may develop; could develop; would develop; can cause; could cause; may cause; vaccinated "
    "against; vaccine for; vaccination for; educated about; education about; fear of; afraid of",
}

# A cue that speaks of what stands before it.
BACKWARD = {
    "negated": "was ruled out; is ruled out; been ruled out; has been ruled out; have been ruled "
    "out; has been excluded; were ruled out; are ruled out; ruled out; was excluded; were "
    "excluded; been excluded; was not found; were not found; was not seen; were not seen; is not "
    "seen; are not seen; not identified; not present; not seen; not detected; not found; is "
    "absent; are absent; was absent; absent; is negative; was negative; were negative; are "
    "negative; negative [3]; none [2]; is denied; are denied; was denied; were denied; denied "
    "[2]; unlikely; is unlikely; was unlikely; less likely; has been negative; have been "
    "negative; been negative",
    "possible": "is possible; was possible; possible [2]; is suspected; was suspected; suspected "
    "[2]; is likely; was likely; likely [2]; cannot be excluded; cannot be ruled out; could not "
    "be excluded; could not be ruled out; can not be excluded; can not be ruled out; not be "
    "excluded; not be ruled out; not been ruled out; not been excluded; has not been ruled out; "
    "has not been excluded; not excluded; not ruled out; is considered; was considered; being "
    "considered; versus; vs; is questionable; in question; is presumed; was presumed; remains "
    "possible; remains a possibility; is a possibility; to be ruled out",
    "historical": "years ago; year ago; months ago; month ago; decades ago; decade ago; in the "
    "past; as a child; as a teenager; in childhood; in his childhood; in her childhood; during "
    "childhood; has resolved; have resolved; is resolved; was resolved; resolved [2]; in "
    "remission; in YEAR; since YEAR; remotely [2]; by history [3]; history [1]; long standing "
    "[3]",
    "family": "runs in the family; run in the family; in the family; in family; on mother side; "
    "on father side; on the maternal side; on the paternal side; on maternal side; on paternal "
    "side",
    "hypothetical": "prophylaxis [2]; ppx [2]; precaution [2]; screening [2]; screen [2]; risk "
    "[2]; vaccine [2]; vaccination [2]; immunization [2]; prevention [2]",
}

# What looks like a cue and is none.
NONE = (
    "no increase; no decrease; no change; no interval change; no significant change; no "
    "significant interval change; no acute change; no further; no improvement; no worsening; no "
    "difficulty; no doubt; no reason; no choice; no matter; not only; not necessarily; not just; "
    "not merely; without difficulty; without further; without change; with or without; gram "
    "negative; rh negative; no one; no new complaint; history of present illness; history of the "
    "present illness; history and physical; history physical; history taking; poor historian; "
    "good historian; prior to; previous to; past week; past month; past day; past year; past "
    "hour; past night; past few; past several; past two; past three; past four; past five; past "
    "six; over the past; in the past week; in the past month; in the past year; in the past day; "
    "in the past few; within the past; year old; yr old; y o; month old; week old; day old; "
    "years old; old record; old records; prior record; prior study; prior film; prior exam; "
    "prior ct; previous exam; previous study; natural history; social history; surgical history; "
    "risk benefit; risks and benefits; risk and benefit; check if; see if; asked if; even if; as "
    "if; if anything"
)

# What ends the reach of a cue before it, or of one behind it, by category; OTHERS are all but
# "family", whose sentences run on ("Brother, who has asthma").
OTHERS = "others"
STOPS = {
    OTHERS: "but; however; although; though; except; except for; aside from; apart from; other "
    "than; nevertheless; yet; still; which; who; whose; while; whereas; because; since; "
    "secondary to; due to; etiology; etiology of; cause of; source of; caused by; presents; "
    "presented; presenting; presents with; presented with; admitted; admitted for; admitted "
    "with; complains; complained; complaining; reports; reported; reporting; states; stated; "
    "has; was found; found to have; was diagnosed; is diagnosed; positive for; remarkable for; "
    "significant for; notable for; consistent with; also has; does have; did have; do have; here "
    "with; showed; shows; showing; revealed; reveals; demonstrated; demonstrates; treated for; "
    "treated with; started on; developed; develops; then",
    "historical": "now; currently; today; this morning; this admission; on admission; tonight; "
    "recent; recently; new; current; acute; denies; denied",
    "family": "but; however; patient; the patient; pt; he; she; himself; herself; brought; "
    "states; reports",
    "hypothetical": "denies; denied; given; was",
    "negated": "concern for; concerning for; likely; possible; history of; only; admits; "
    "endorses; treated; diagnosed",
}

# Each speaks of what comes after it, of the one word before it, and after "in his" of all before.
RELATIVES = (
    "mother; father; brother; sister; parent; sibling; son; daughter; aunt; uncle; grandmother; "
    "grandfather; grandparent; cousin; niece; nephew; relative; mom; dad; half brother; half "
    "sister; grandson; granddaughter; husband; wife; spouse; twin"
)
# "mother states", "per his mother": one who has nothing to do with the condition.
DOES = (
    "states; stated; state; reports; reported; report; says; said; brought; brings; called; "
    "calls; denies; noted; notes; noticed; found; is at bedside; at bedside; at the bedside; was "
    "notified; is present; present; was present; updated; was updated; visited; visits; lives; "
    "accompanied; helps; assists; supervises; is concerned; was concerned; is worried; who "
    "states; who reports; confirms; has noted; have noted; has noticed; have noticed; has "
    "reported; have reported; feels; feel; thinks; think; believes; believe; are concerned; were "
    "concerned; describes; describe; recalls; recall; are here; is here; wants; want; gave; "
    "gives; is the; will; can; was called; was informed; was contacted; witnessed"
)
TOWARDS = (
    "per; by; to; from; with; called; lives with; according to; accompanied by; informed; notified"
)
WHOSE = ("", "his ", "her ", "the ", "patient ", "the patient ", "a ", "my ", "their ")
