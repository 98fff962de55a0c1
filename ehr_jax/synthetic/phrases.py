"""Wordings of the synthetic hospital's notes. `{}` stands for a condition's name."""

# [trait][level] -> ways to say it.
TRAITS = (
    (
        (
            "Takes every tablet on time from a pill box filled by a devoted daughter.",
            "Never misses a dose and keeps all clinic appointments.",
            "Fully adherent to the medication plan, with strong family support at home.",
            "Brings an up-to-date medication list and takes all pills reliably.",
            "The family supervises all medicines and follow-up is always kept.",
        ),
        (
            "Takes most pills, occasionally forgetting an evening dose.",
            "Keeps some clinic appointments; medicines are usually taken.",
            "Sometimes mixes up tablets but generally follows the plan.",
            "Medication taking is fair, with a neighbour reminding now and then.",
            "Fills prescriptions late at times, otherwise takes medicines.",
        ),
        (
            "Lives alone, skips medication doses and misses clinic appointments.",
            "Stopped taking all pills weeks ago because of the cost, and has nobody to help.",
            "Non-adherent: prescriptions are never filled and follow-up is refused.",
            "Admits to throwing tablets away and not attending any appointment.",
            "Socially isolated and does not take prescribed medicines.",
        ),
    ),
    (
        (
            "Walks two miles daily and is fully independent.",
            "Climbs stairs without help, does own shopping and gardening.",
            "Physically active and strong, with no need of assistance.",
            "Ambulates briskly in the corridor without any device.",
            "Independent in bathing, dressing and all daily activities.",
        ),
        (
            "Walks short distances with a cane.",
            "Needs some help with bathing, and uses a walker outdoors.",
            "Gets about the house slowly, holding on to furniture.",
            "Partly independent; a helper assists with stairs.",
            "Moves from bed to chair with one person standing by.",
        ),
        (
            "Bed-bound and frail, needs two people to turn.",
            "Cannot stand or walk and is fully dependent for all care.",
            "Very weak and immobile, lying in bed all day.",
            "Has fallen many times and can no longer leave the bed.",
            "Wheelchair-bound, wasted muscles, unable to dress or wash unaided.",
        ),
    ),
    (
        (
            "Appetite is excellent; finishes every meal and drinks plenty of water.",
            "Eats three full meals a day and weight is stable.",
            "Enjoys food, asks for second helpings and drinks well.",
            "Well nourished with a hearty appetite.",
            "Food and fluid intake are very good.",
        ),
        (
            "Eats about half of each meal.",
            "Appetite is moderate, with small portions at dinner.",
            "Drinks when reminded and picks at lunch.",
            "Food intake is fair; leaves some of the tray.",
            "Eats a little less than usual.",
        ),
        (
            "Refuses food and fluids, and clothes hang loose after losing weight.",
            "Hardly eats or drinks; trays go back untouched.",
            "No appetite for weeks, marked weight loss, barely sips water.",
            "Malnourished looking, pushing every meal away.",
            "Has not eaten a proper meal in days and drinks almost nothing.",
        ),
    ),
)

COMPLAINTS = [
    "weakness",
    "feeling unwell",
    "dizziness",
    "discomfort",
    "malaise",
    "shakiness",
    "poor sleep",
    "aches",
    "fatigue",
    "unease",
]
ONSETS = [
    "since this morning",
    "for two days",
    "over the past week",
    "for several days",
    "of gradual onset",
    "since last night",
]
ACTIVE = [
    "Presentation thought to be due to {}.",
    "Main concern is {}.",
    "Now being treated for {}.",
    "Findings consistent with {}.",
    "Known to have {}.",
    "Course notable for {}.",
    "Evaluated for {}.",
]
HISTORICAL = [
    "History of {}.",
    "Past {}.",
    "Known {} for years.",
    "H/o {}.",
    "{}, long-standing.",
    "Previously treated for {}.",
]
NEGATED = [
    "Denies {}.",
    "No evidence of {}.",
    "No history of {}.",
    "{} was ruled out.",
    "Negative for {}.",
    "Without signs of {}.",
]
FAMILY = [
    "Mother had {}.",
    "Father with {}.",
    "Brother has {}.",
    "Sister with {}.",
    "Family members with {}.",
]
PLANS = [
    "Continue {} management.",
    "Follow {} closely.",
    "Will treat {} and reassess.",
    "{}: plan as discussed on rounds.",
    "Monitor {}.",
]
WARD = [
    "Slept in intervals.",
    "Lines intact.",
    "Family called for an update.",
    "Resting between rounds.",
    "Repositioned and comfortable.",
    "Call bell within reach.",
    "Oral care given.",
]
ADVICE = [
    "Call the clinic with questions.",
    "Keep the wound and skin clean.",
    "Bring this letter to the next appointment.",
    "Return papers were reviewed.",
    "Instructions were given in writing.",
]

EXAM = [
    "Alert, in mild distress, skin warm and dry.",
    "Comfortable at rest, speech clear, pupils equal.",
    "Examined at the bedside; vital signs as charted.",
    "Mucous membranes moist, abdomen soft, pulses present.",
    "Oriented, cooperative with the exam, no new rash.",
    "Heart and lung sounds as documented by the team.",
]
