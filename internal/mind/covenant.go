package mind

// CovenantName is the name of the profile for any chat model.
const CovenantName = "covenant"
